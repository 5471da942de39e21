"""The direction that follows from a request for the pocket model.

Precedence, for each attribute on its own: what the request states; then the matched title; then
what is usual of the forms, the composer and the genre it names (the surest of them). Two
exceptions: where the request names a form and the matched title has others, the usual comes before
the title; and a request that is understood to its last word describes music instead of naming a
piece, so no title is taken for it at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from models.engines.pocket.instruments import ordered
from models.engines.pocket.prompt import FASTEST_BPM, SLOWEST_BPM, Stated, read_prompt
from models.engines.pocket.titles import PocketTitles, Usual, Usuals
from models.music.attributes import Attributes
from models.music.score.programs import CHANNELS
from models.music.titles.matching import TitleMatch


@dataclass(frozen=True)
class Direction:
    """What the pocket model is asked for.

    `allowed` are the instruments that may sound (None: all), never empty; `required` must sound, and
    are among them. `sources` says where each known attribute comes from: "stated", "title", "form",
    "composer" or "genre".
    """

    attributes: Attributes
    allowed: frozenset[str] | None = None
    required: frozenset[str] = frozenset()
    sources: dict[str, str] = field(default_factory=dict)


def resolve(stated: Stated, title: Attributes | None, usuals: Usuals) -> Direction:
    """Fill up what a request states from a matched title (None: none matched well) and from what is usual."""
    if stated.description:
        title = None
    layers = _layers(stated, title, usuals)
    sources: dict[str, str] = {}

    def first(name: str, said: object, share: str = "", weight: Callable[[str], float] = lambda _: 1.0) -> object:
        if said:
            sources[name] = "stated"
            return said
        found = _surest(layers, name, share, weight)
        if found is None:
            return None
        sources[name] = found[0]
        return getattr(found[1], name)

    genre = first("genre", stated.genre, "genre_share")
    metre = first("metre", stated.metre, "metre_share", _no_habits)
    tempo = first("tempo_bpm", stated.tempo_bpm, "tempo_share", _no_habits)
    if stated.pace and not stated.tempo_bpm:
        tempo = _paced(stated.pace, tempo if isinstance(tempo, float) else None)
        sources["tempo_bpm"] = "stated"
    tonic, mode = stated.tonic, stated.mode
    if mode is None and title is not None and title.mode:
        tonic, mode = title.tonic, title.mode
        sources["key"] = "title"
    elif mode is not None:
        sources["key"] = "stated"
        if tonic is None and title is not None and title.mode == mode:
            tonic = title.tonic
    forms = stated.forms
    if title is not None and title.forms and (not forms or set(forms) & set(title.forms)):
        forms = tuple(dict.fromkeys((*forms, *title.forms)))
    if forms:
        sources["forms"] = "stated" if stated.forms else "title"
    composer = stated.composer
    if composer is None and title is not None and not stated.artist_given:
        composer = title.composer
    if composer:
        sources["composer"] = "stated" if stated.composer else "title"
    direction = _with_instruments(stated, layers)
    tempo = min(max(tempo, SLOWEST_BPM), FASTEST_BPM) if isinstance(tempo, float) else None
    return replace(
        direction, sources=sources | direction.sources,
        attributes=replace(
            direction.attributes, genre=genre if isinstance(genre, str) else None, forms=forms, composer=composer,
            tonic=tonic, mode=mode, metre=metre if isinstance(metre, str) else None, tempo_bpm=tempo))


def direct(
    title: str, artist: str, titles: PocketTitles, seed: int | None = None,
) -> tuple[Direction, list[TitleMatch]]:
    """The whole way from a request to a direction, with the best matches of the title list.

    A best match with a low score lends no attributes. Raises InputError as `read_prompt` and
    `PocketTitles.match` do.
    """
    matches = titles.match(title, artist, seed=seed)
    stated = read_prompt(title, artist, titles.composers)
    matched = titles.attributes(matches[0].number) if matches and not matches[0].low else None
    return resolve(stated, matched, titles.usuals), matches


def _layers(stated: Stated, title: Attributes | None, usuals: Usuals) -> list[list[tuple[str, Attributes | Usual]]]:
    """Where to look, in order; inside a layer the surest comes first."""
    usual: list[tuple[str, Attributes | Usual]] = [
        *(("form", usuals.forms[name]) for name in stated.forms if name in usuals.forms),
    ]
    if stated.composer in usuals.composers and stated.composer:
        usual.append(("composer", usuals.composers[stated.composer]))
    if stated.genre in usuals.genres and stated.genre:
        usual.append(("genre", usuals.genres[stated.genre]))
    if title is None:
        return [usual]
    named: list[tuple[str, Attributes | Usual]] = [("title", title)]
    other_form = bool(stated.forms and title.forms and not set(stated.forms) & set(title.forms))
    return [usual, named] if other_form else [named, usual]


def _surest(
    layers: list[list[tuple[str, Attributes | Usual]]], name: str, share: str, weight: Callable[[str], float],
) -> tuple[str, Attributes | Usual] | None:
    for layer in layers:
        known = [(source, holder) for source, holder in layer if getattr(holder, name) and weight(source) > 0]
        if known:
            return max(known, key=lambda pair: weight(pair[0]) * getattr(pair[1], share, 1.0))
    return None


def _no_habits(source: str) -> float:
    """Composers write in all metres and tempos."""
    return 0.0 if source == "composer" else 1.0


def _half_habits(source: str) -> float:
    """What a composer mostly wrote for counts half beside a form that was asked for."""
    return 0.5 if source == "composer" else 1.0


def _paced(pace: str, usual_bpm: float | None) -> float:
    """Slow and fast against what is usual: a fast jig is faster than a fast hymn. 108 where nothing is usual."""
    usual_bpm = usual_bpm or 108.0
    return min(usual_bpm * 0.7, 76.0) if pace == "slow" else max(usual_bpm * 1.2, 144.0)


def _with_instruments(stated: Stated, layers: list[list[tuple[str, Attributes | Usual]]]) -> Direction:
    """The instruments' part of a direction, with the density that goes with them."""
    if stated.only is not None:
        attributes, sources = Attributes(instruments=ordered(stated.only)), {"instruments": "stated"}
        for source, holder in (pair for layer in layers for pair in layer):
            if holder.density and frozenset(holder.instruments) == stated.only:
                return Direction(replace(attributes, density=holder.density), stated.only, stated.required,
                                 sources | {"density": source})
        return Direction(attributes, stated.only, stated.required, sources)
    surest = _surest(layers, "instruments", "instruments_share", _half_habits)
    usual = frozenset(surest[1].instruments) - stated.excluded if surest else frozenset()
    if surest is None or not usual:
        if not stated.excluded:
            return Direction(Attributes(), None, stated.required, {"instruments": "stated"} if stated.required else {})
        return Direction(
            Attributes(), frozenset(CHANNELS) - stated.excluded, stated.required, {"instruments": "stated"})
    source, holder = surest
    allowed = usual | stated.required
    core = frozenset(holder.core) & usual if isinstance(holder, Usual) else frozenset()
    sources = {"instruments": source}
    density = holder.density if allowed == frozenset(holder.instruments) else None
    if density:
        sources["density"] = source
    attributes = Attributes(instruments=ordered(allowed), density=density)
    return Direction(attributes, allowed, stated.required | core, sources)

from __future__ import annotations

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.engines.pocket.direction import Direction, direct, resolve
from models.engines.pocket.prompt import Stated, read_prompt
from models.engines.pocket.titles import PocketTitles, Usual, Usuals, load_titles
from models.errors import InputError
from models.music.attributes import Attributes
from models.music.score.programs import CHANNELS

STRINGS = {"violin", "cello"}


@functools.cache
def titles() -> PocketTitles:
    return load_titles()


def ask(title: str, artist: str = "") -> Direction:
    return direct(title, artist, titles(), seed=1)[0]


def band(*channels: str) -> frozenset[str]:
    return frozenset(channels)


@pytest.mark.parametrize(("text", "tonic", "mode"), [
    ("in D minor", 2, "minor"), ("d-Moll", 2, "minor"), ("A-Dur", 9, "major"), ("Sonate in B-Dur", 10, "major"),
    ("h-Moll", 11, "minor"), ("B minor", 11, "minor"), ("b-moll", 10, "minor"), ("C# minor", 1, "minor"),
    ("cis-Moll", 1, "minor"), ("Fis-Dur", 6, "major"), ("As-Dur", 8, "major"), ("Es-Dur", 3, "major"),
    ("es moll", 3, "minor"), ("Ces-Dur", 11, "major"), ("E-flat major", 3, "major"), ("F sharp minor", 6, "minor"),
    ("Bb major", 10, "major"), ("B♭ major", 10, "major"), ("waltz in a minor", 9, "minor"), ("A minor", 9, "minor"),
    ("A minor waltz", 9, "minor"), ("A Major, op. 3", 9, "major"), ("Canon in D", 2, "major"),
    ("g\N{EN DASH}Moll", 7, "minor"),
    ("Bb-Dur", 10, "major"), ("in the key of E flat", 3, "major"),
])
def test_keys_are_read_in_both_languages(text: str, tonic: int, mode: str) -> None:
    stated = read_prompt(text, "")
    assert (stated.tonic, stated.mode) == (tonic, mode)


@pytest.mark.parametrize("text", [
    "A minor problem", "a minor problem", "A Major Tom", "Major Tom", "Minor Swing of Paris", "Vitamin C", "Sharp",
    "Living in America", "Durch die Nacht", "Party in A club", "Plan B",
])
def test_other_words_are_no_key(text: str) -> None:
    stated = read_prompt(text, "")
    assert (stated.tonic, stated.mode) == (None, None)


@pytest.mark.parametrize(("text", "mode"), [
    ("ein Walzer in Moll", "minor"), ("waltz, minor", "minor"), ("hymn in major", "major"), ("in a minor key", "minor"),
    ("a minor waltz", "minor"), ("etwas in Dur", "major"),
])
def test_a_mode_may_stand_alone(text: str, mode: str) -> None:
    stated = read_prompt(text, "")
    assert (stated.tonic, stated.mode) == (None, mode)


@pytest.mark.parametrize(("text", "metre"), [
    ("a song in 3/4", "3/4"), ("6/8", "6/8"), ("im Dreivierteltakt", "3/4"), ("6/8-Takt", "6/8"), ("12 / 8", "12/8"),
    ("alla breve", "2/2"), ("24/7", None), ("7/16", None), ("13/4/2020", None),
])
def test_metres_are_read(text: str, metre: str | None) -> None:
    assert read_prompt(text, "").metre == metre


@pytest.mark.parametrize(("text", "bpm", "pace"), [
    ("120 bpm", 120, None), ("march at 96,5 BPM", 96.5, None), ("999 bpm", 300, None), ("Largo", 50, None),
    ("Presto in C", 176, None), ("tempo: 140", 140, None), ("a slow hymn", None, "slow"),
    ("langsamer Walzer", None, "slow"),
    ("schnelle Polka", None, "fast"), ("Breakfast", None, None), ("Allegretto", 112, None),
])
def test_tempos_are_read(text: str, bpm: float | None, pace: str | None) -> None:
    stated = read_prompt(text, "")
    assert (stated.tempo_bpm, stated.pace) == (bpm, pace)


@pytest.mark.parametrize(("text", "only"), [
    ("string quartet", STRINGS), ("Streichquartett", STRINGS), ("for solo piano", {"piano"}), ("only piano", {"piano"}),
    ("Walzer nur für Klavier", {"piano"}), ("für Klavier", {"piano"}), ("piano only", {"piano"}),
    ("Klaviersolo", {"piano"}),
    ("flute and harp", {"flute", "harp"}), ("Flöte, Harfe und Orgel", {"flute", "harp", "organ"}),
    ("a cappella", {"choir"}), ("choir", {"choir"}), ("Männerchor", {"choir"}), ("Klaviertrio", {"piano", *STRINGS}),
    ("Bläserquartett", {"flute", "clarinet", "trumpet"}), ("waltz for piano with organ", {"piano", "organ"}),
    ("Posaunenchor", {"trumpet"}), ("jig for flute and violin", {"flute", "violin"}), ("bass guitar", {"bass"}),
    ("steel drums", {"harp"}), ("English horn", {"clarinet"}), ("Streichquartett mit Flöte", {"flute", *STRINGS}),
    ("no vocals, power trio", {"guitar", "bass", "drums", "organ", "piano"}),
    ("piano and drums but no drums", {"piano"}),
])
def test_the_whole_line_up_is_read(text: str, only: set[str]) -> None:
    assert read_prompt(text, "").only == only


@pytest.mark.parametrize(("text", "excluded"), [
    ("without drums", {"drums"}), ("no drums", {"drums"}), ("ohne Schlagzeug", {"drums"}), ("ohne Bass und Schlagzeug",
     {"bass", "drums"}), ("keine Gitarre", {"guitar"}), ("instrumental rock", {"choir"}), ("no strings", STRINGS),
    ("without drums, with organ", {"drums"}), ("Sonata No. 2 for piano", set()),
    ("no drums or bass", {"drums", "bass"}),
])
def test_what_must_not_sound_is_read(text: str, excluded: set[str]) -> None:
    assert read_prompt(text, "").excluded == excluded


@pytest.mark.parametrize("text", ["waltz with organ", "Walzer mit Orgel", "Concerto for organ", "Organ grinder man"])
def test_with_an_instrument_leaves_room_for_others(text: str) -> None:
    stated = read_prompt(text, "")
    assert stated.required == band("organ")
    assert stated.only is None


@pytest.mark.parametrize("text", ["Sharp", "Harpo", "Bassoonist", "Drummer boy", "Anchor", "Shoehorn", "Organic"])
def test_parts_of_words_are_no_instruments(text: str) -> None:
    stated = read_prompt(text, "")
    assert (stated.required, stated.only) == (frozenset(), None)


@pytest.mark.parametrize(("text", "forms"), [
    ("a waltz", ("waltz",)), ("Langsamer Ländler", ("waltz",)), ("Choral", ("chorale",)), ("Märsche", ("march",)),
    ("Kirchenlied", ("hymn",)), ("Wiegenlied", ("berceuse",)), ("waltz without choir", ("waltz",)),
    ("doom metal", ("metal",)), ("bossa nova", ("bossa nova",)), ("Streichquartett", ("string quartet",)),
])
def test_forms_are_read_in_both_languages(text: str, forms: tuple[str, ...]) -> None:
    assert read_prompt(text, "").forms == forms


def test_genres_come_from_title_or_artist() -> None:
    assert read_prompt("Family Guy", "TV Themes").genre == "soundtrack"
    assert read_prompt("video game boss fight", "").genre == "game"
    assert read_prompt("Popcorn", "").genre is None


def test_a_composer_is_known_or_not_read() -> None:
    known = {"chopin", "bach", "bridge"}
    assert read_prompt("Nocturne", "Frédéric CHOPIN", known).composer == "chopin"
    assert read_prompt("a waltz by Chopin", "", known).composer == "chopin"
    assert read_prompt("Etwas im Stil von J. S. Bach", "", known).composer == "bach"
    assert read_prompt("Nocturne", "Field", known).composer is None
    assert read_prompt("love under the bridge", "", known).composer is None


@pytest.mark.parametrize(("title", "artist", "described"), [
    ("a slow waltz in A minor for piano", "", True), ("ein Walzer", "Chopin", True), ("Waltz, op. 69", "Chopin", False),
    ("waltz", "Somebody", False), ("Clair de lune", "", False), ("", "Chopin", True),
])
def test_a_description_is_told_from_a_name(title: str, artist: str, described: bool) -> None:
    assert read_prompt(title, artist, {"chopin"}).description is described


def test_excluding_everything_is_an_input_error() -> None:
    with pytest.raises(InputError, match="every instrument"):
        read_prompt("without " + " and ".join(CHANNELS), "")


def test_the_request_wins_over_the_title_and_the_title_over_the_usual() -> None:
    usuals = Usuals(forms={"waltz": Usual(genre="dance", metre="3/4", tempo_bpm=140.0, instruments=("harp",))})
    title = Attributes(forms=("waltz",), metre="3/8", tempo_bpm=100.0, tonic=5, mode="major", instruments=("piano",))
    stated = Stated(forms=("waltz",), tempo_bpm=60.0)
    direction = resolve(stated, title, usuals)
    known = direction.attributes
    assert (known.tempo_bpm, known.metre, known.genre) == (60, "3/8", "dance")
    assert direction.allowed == band("piano")
    assert direction.sources == {"forms": "stated", "tempo_bpm": "stated", "metre": "title", "genre": "form",
                                 "key": "title", "instruments": "title"}


def test_a_stated_form_wins_over_a_title_of_another_form() -> None:
    usuals = Usuals(forms={"waltz": Usual(metre="3/4", tempo_bpm=140.0, instruments=("harp",))})
    march = Attributes(forms=("march",), metre="4/4", tonic=0, mode="minor")
    direction = resolve(Stated(forms=("waltz",)), march, usuals)
    assert (direction.attributes.forms, direction.attributes.metre) == (("waltz",), "3/4")
    assert (direction.attributes.mode, direction.sources["key"]) == ("minor", "title")


def test_the_composer_of_a_title_by_somebody_else_is_not_taken() -> None:
    title = Attributes(composer="gruber", instruments=("choir",))
    assert resolve(Stated(artist_given=True), title, Usuals()).attributes.composer is None
    assert resolve(Stated(), title, Usuals()).attributes.composer == "gruber"


def test_pace_is_relative_to_what_is_usual() -> None:
    assert (ask("fast jig").attributes.tempo_bpm or 0) > (ask("jig").attributes.tempo_bpm or 0) == 170
    assert (ask("slow waltz").attributes.tempo_bpm or 99) <= 76


def test_the_requests_of_the_class_give_sane_directions() -> None:
    assert ask("Clair de lune", "Claude Debussy").attributes.composer == "debussy"
    nocturne = ask("Nocturne", "Chopin")
    assert (nocturne.attributes.composer, nocturne.attributes.forms) == ("chopin", ("nocturne",))
    assert nocturne.allowed == band("piano")
    assert ask("a waltz").attributes.metre == "3/4"
    jig = ask("jig for flute and violin")
    assert jig.attributes.metre == "6/8"
    assert jig.allowed == jig.required == band("flute", "violin")
    assert ask("hymn").attributes.genre == "sacred"
    for text in ("string quartet in D minor", "Streichquartett in d-Moll"):
        quartet = ask(text)
        assert quartet.allowed == band("violin", "cello")
        assert (quartet.attributes.tonic, quartet.attributes.mode) == (2, "minor")
        assert quartet.attributes.density is not None
    metal = ask("doom metal")
    assert metal.required == band("guitar", "bass", "drums")
    assert metal.allowed == metal.required | {"organ"}
    assert metal.attributes.mode is None
    strauss = ask("Walzer nur für Klavier", "Strauss")
    assert strauss.allowed == band("piano")
    assert strauss.attributes.composer == "strauss"
    assert ask("Family Guy", "TV Themes").attributes.genre == "soundtrack"
    assert ask("😀😀") == Direction(Attributes())
    assert ask("Kirchenlied für Orgel und Chor").allowed == band("organ", "choir")


def test_a_title_of_the_list_lends_its_attributes() -> None:
    direction = ask("Nocturne No. 2, Op. 9", "Chopin")
    assert (direction.attributes.tonic, direction.attributes.mode) == (3, "major")
    assert direction.sources["key"] == "title"


PIECES = ["without", "ohne", "no", "for", "only", "with", "piano", "drums", "Chor", "string quartet", "waltz",
          "in a", "minor", "d-Moll", "3/4", "120 bpm", "Chopin", "by", ",", "and", "instrumental", "strings",
          "solo", "fast", "concerto", "band"]


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join)),
       st.one_of(st.just(""), st.text(max_size=60), st.sampled_from(PIECES)),
       st.one_of(st.none(), st.integers(0, 5000)))
def test_any_request_gives_a_playable_direction(title: str, artist: str, matched: int | None) -> None:
    stated = read_prompt(title, artist, titles().composers)
    direction = resolve(stated, None if matched is None else titles().attributes(matched), titles().usuals)
    allowed = frozenset(CHANNELS) if direction.allowed is None else direction.allowed
    assert allowed
    assert allowed <= set(CHANNELS)
    assert direction.required <= allowed
    assert set(direction.attributes.instruments) <= allowed
    assert not stated.excluded & allowed


def test_ten_thousand_characters_are_read_to_their_limit() -> None:
    assert read_prompt("klavier" * 5000, "for " * 10_000).excluded == frozenset()

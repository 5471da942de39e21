"""The benchmark's logic on music the test wrote, in place of takes and of a corpus."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import benchmarks.music as music
from benchmarks.music import (
    ROWS,
    Compose,
    Figure,
    Heard,
    Made,
    Row,
    excerpt,
    fell,
    figure,
    hear_piece,
    hear_take,
    main,
    single_players,
    table,
    usual_densities,
    with_copies,
)
from benchmarks.music_prompts import KINDS, PROMPTS, Prompt, evenly
from models.music.attributes import Attributes
from models.music.score.measures import CLASS_OF_METRE, Key
from models.music.score.notes import Metre
from models.music.score.programs import CHANNELS
from models.training.corpus import PIECE_NOTE, Corpus

PLAN = Attributes(genre="folk", tonic=0, mode="major", metre="3/4", tempo_bpm=120.0, instruments=("violin", "cello"))
ASKED = Prompt("instruments", "Waltz", key=Key(0, "major"), metre="3/4", tempo=(120.0, 120.0), instruments=("violin", "cello"))


def waltz(semitones: int = 0, bars: int = 24, melody: Sequence[int] = (0, 2, 4, 7)) -> np.ndarray:
    """A waltz for violin and cello in the notes of a corpus, that ends on a long tonic."""
    strokes: list[tuple[float, int, float, int, str]] = [
        (0.0, 36, 1.0, 105, "cello"), (0.0, 72, 2.0, 90, "violin"), (1.0, 64, 0.5, 60, "violin"),
        (1.0, 67, 0.5, 60, "violin"), (2.0, 64, 0.5, 60, "violin"), (2.0, 67, 0.5, 60, "violin")]
    written = []
    for bar in range(bars):
        root, step = (0, 5, 7, 0)[bar % 4], melody[bar % len(melody)]
        written += [(bar, place, pitch + root + (step if pitch == 72 else 0), quarters, velocity, channel)
                    for place, pitch, quarters, velocity, channel in strokes]
    written += [(bars, 0.0, 36, 3.0, 105, "cello"), (bars, 0.0, 72, 3.0, 90, "violin")]
    notes = np.zeros(len(written), dtype=PIECE_NOTE)
    for note, (bar, place, pitch, quarters, velocity, channel) in zip(notes, written, strict=True):
        note["onset_ms"], note["duration_ms"] = (3 * bar + place) * 500, quarters * 500
        note["pitch"], note["velocity"], note["channel"] = pitch + semitones, velocity, CHANNELS.index(channel)
        note["quarters"], note["quarters_in_bar"], note["bar_quarters"] = 3 * bar + place, place, 3
        note["quarter_ms"] = 500
    return notes


def corpus(val: int, train: int, melody: Sequence[int] = (0, 2, 4, 7), bars: int = 24) -> Corpus:
    pieces = [waltz(semitones=i % 5, bars=bars, melody=melody if i >= val else (0, 2, 4, 7)) for i in range(val + train)]
    entries = [{"file": f"{i}.mid", "title": "Waltz", "key": ("C", "Db", "D", "Eb", "E")[i % 5], "mode": "major",
                "metre": "3/4", "genre": "folk" if i % 2 else "song", "split": "val" if i < val else "train",
                "instruments": ["Violin", "Cello"]} for i in range(val + train)]
    return Corpus(entries, np.concatenate(pieces), np.arange(val + train + 1) * len(pieces[0]), {})


def made(prompt: Prompt = ASKED, plan: Attributes = PLAN, semitones: int = 0) -> Made:
    return Made(0, prompt, plan, 512, excerpt(waltz(semitones)))


def value(title: str, heard: Heard) -> float | bool | None:
    (row,) = (row for row in ROWS if row.title.startswith(title))
    return row.of(heard)


RIGHT = ("key (Krumhansl", "key (Temperley", "metre class (auto", "metre class (measures", "stated tempo", "every stated",
         "ends on the tonic", "two thirds", "final notes")


def test_a_take_with_everything_asked_for_measures_so() -> None:
    heard = hear_take(made(), {})
    assert {title: value(title, heard) for title in RIGHT} == dict.fromkeys(RIGHT, True)
    assert value("two players", heard) is False
    assert value("tokens", heard) == 3 * 146 / 512
    assert value("likeness of bars 4", heard) == pytest.approx(23 * 1 / 24, abs=0.06)


@pytest.mark.parametrize(("change", "missed"), [
    ({"key": Key(6, "major")}, RIGHT[:2]), ({"key": Key(6, "major")}, RIGHT[6:8]), ({"metre": "4/4"}, RIGHT[2:4]),
    ({"tempo": (101.0, 101.0)}, ("stated tempo",)), ({"instruments": ("violin", "harp")}, ("every stated",)),
])
def test_a_take_without_what_was_asked_measures_so(change: dict[str, object], missed: Sequence[str]) -> None:
    heard = hear_take(made(replace(ASKED, **change)), {})  # type: ignore[arg-type]
    assert [value(title, heard) for title in missed] == [False] * len(missed)


def test_what_a_prompt_leaves_open_is_measured_against_the_plan() -> None:
    open_ = Prompt("moods", "Heimweh")
    assert value("key (Temp", hear_take(made(open_), {})) is True
    assert value("key (Temp", hear_take(made(open_, replace(PLAN, tonic=6)), {})) is False
    assert value("key (Temp", hear_take(made(ASKED, replace(PLAN, tonic=6)), {})) is True
    assert value("metre class (auto", hear_take(made(open_, replace(PLAN, metre="2/4")), {})) is False
    for title in ("stated tempo", "stated pace", "every stated"):
        assert value(title, hear_take(made(open_), {})) is None


def test_words_of_pace_have_a_row_of_their_own_without_octaves() -> None:
    slow, fast = (hear_take(made(replace(ASKED, tempo=tempo)), {}) for tempo in ((40.0, 84.0), (116.0, 210.0)))
    assert [value("stated pace", one) for one in (slow, fast)] == [False, True]
    assert value("stated tempo", slow) is None


def test_a_planned_player_who_is_silent_counts_as_missing() -> None:
    heard = hear_take(made(replace(ASKED, instruments=()), replace(PLAN, instruments=("violin", "cello", "harp"))), {})
    assert value("two players", heard) is True
    assert value("share of the least", heard) == 0


def test_a_named_player_has_one_note_at_a_time_and_unnamed_ones_may_have_more() -> None:
    named = hear_take(made(replace(ASKED, single=("violin",))), {})
    assert value("one violin", named) == pytest.approx(48 / 73)
    assert value("violin, unnamed", named) is None
    unnamed = hear_take(made(), {})
    assert value("one violin", unnamed) is None
    assert value("violin, unnamed", unnamed) == 0


def test_real_pieces_are_measured_against_their_own_key_and_end() -> None:
    for number in range(5):
        heard = hear_piece(corpus(5, 0, bars=40), number, {"folk": 4.0, None: 8.0})
        for title in (title for title in RIGHT if not title.startswith("every")):
            assert value(title, heard) is True, title
        assert heard.single == ("violin",)
        assert (len(heard.score), len(heard.final)) == (170, 170)
        assert heard.final.notes["duration_ms"].max() == 1500  # the piece's last notes, which no other is as long as
        assert heard.usual_density == (4.0 if number % 2 else 8.0)


def test_an_excerpt_lies_on_the_bars_it_was_written_in_and_sounds_as_coarse_as_a_take() -> None:
    piece = waltz(bars=4)
    piece["onset_ms"] += 3
    piece["bar_quarters"][:6], piece["quarters"][6:] = 2.5, piece["quarters"][6:] - 0.5
    score = excerpt(piece)
    assert score.metres == (Metre(0, 10, 16), Metre(2400, 12, 16))
    assert score.notes["onset_ms"].max() == 6000
    assert score.notes["onset_tick"].max() == 11.5 * 960
    assert set(score.notes["velocity"] % 15) == {0}
    assert excerpt(waltz()[2:]).metres == (Metre(0, 12, 16),)  # from within a bar


def test_instruments_of_an_index_are_single_players_where_one_is_named_for_a_channel() -> None:
    assert single_players(["Flute", "Oboe", "Bassoon", "Violin", "Electric Bass", "Synth Bass"]) == ("flute", "violin")
    assert single_players(["Strings"]) == ()  # sections are several people


def test_densities_are_those_of_train_by_genre() -> None:
    dense = usual_densities(corpus(2, 4))
    assert set(dense) == {"folk", "song", None}
    assert dense["folk"] == pytest.approx(146 / 36)
    assert set(usual_densities(corpus(2, 1))) == {"song", None}


def test_copies_of_train_are_found_in_any_key_and_others_are_not() -> None:
    take = hear_take(made(semitones=4), {})
    (copied,) = with_copies(corpus(0, 2), [take])
    assert copied.copied == {8: True, 12: True, 16: True, 24: True}
    (free,) = with_copies(corpus(0, 2, melody=(0, 9, 3, 10, 5)), [take])
    assert free.copied is not None
    assert free.copied[24] is False
    (unseen,) = with_copies(corpus(2, 0), [take])
    assert unseen.copied == {8: False, 12: False, 16: False, 24: False}


def heard_of(numbers: Sequence[float | bool | None], *, median: bool = False) -> Figure | None:
    values = iter(numbers)
    return figure(Row("", lambda _: next(values), "", median=median), [hear_take(made(), {})] * len(numbers))


def test_figures_leave_out_what_does_not_apply() -> None:
    found = heard_of([True, False, None, True, True])
    assert found is not None
    assert (found.value, found.count) == (0.75, 4)
    assert found.error == pytest.approx((4 / 6 * 2 / 6 / 4) ** 0.5)
    assert heard_of([None, None]) is None
    middle = heard_of([1.0, 2.0, 9.0], median=True)
    assert middle is not None
    assert middle.value == 2


def test_no_error_is_nothing_however_alike_the_takes_are() -> None:
    for numbers in ([True] * 20, [0.5] * 20):
        found = heard_of(numbers)
        assert found is not None
        assert found.error > 0


@pytest.mark.parametrize(("better", "falls"), [("more", (True, False)), ("less", (False, True)), ("same", (True, True))])
def test_a_figure_falls_in_the_direction_that_is_worse(better: str, falls: tuple[bool, bool]) -> None:
    row, before = Row("steps", lambda _: None, "", better), Figure(0.5, 0.03, 100)
    for value, fallen in zip((0.3, 0.7), falls, strict=True):
        line = fell(row, Figure(value, 0.03, 100), before)
        assert (line is not None) == fallen
        assert line is None or line.startswith("steps: ")
    for value in (0.4, 0.6):  # three errors of both are 0.127
        assert fell(row, Figure(value, 0.03, 100), before) is None


def test_the_table_shows_shares_numbers_and_dashes() -> None:
    share, number = Row("a", lambda _: None, "98 %"), Row("b", lambda _: None, "as real", share=False)
    lines = table([(share, Figure(0.5, 0.1, 20), None), (number, None, Figure(3.456, 0.1, 7))]).splitlines()
    assert lines[2:] == ["| a | 50.0 % (20) | - | 98 % |", "| b | - | 3.46 (7) | as real |"]


Composer = Callable[[Path | None], Compose]


def composer(semitones: int = 0) -> Composer:
    def compose(prompts: Sequence[tuple[int, Prompt]], takes: int, temperature: float) -> list[Made]:
        return [Made(number, prompt, PLAN, 512, excerpt(waltz(semitones))) for number, prompt in prompts for _ in range(takes)]

    return lambda _: compose


def test_a_baseline_is_kept_beside_others_and_what_falls_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    results, baseline = tmp_path / "results.md", tmp_path / "baseline.json"

    def run(*arguments: str, semitones: int = 0) -> int:
        return main(arguments, composer(semitones), results, baseline)

    assert run("--prompts", "10", "--write-baseline") == 0
    assert run("--prompts", "20", "--write-baseline") == 0
    assert list(json.loads(baseline.read_text())) == [f"{n} prompts, 2 takes, temperature 0.9" for n in (10, 20)]
    assert "| key (Temperley) |" in results.read_text(encoding="utf-8")
    capsys.readouterr()
    assert run("--prompts", "10", "--check", str(baseline)) == 0
    assert capsys.readouterr().err == ""
    assert run("--prompts", "10", "--check", str(baseline), semitones=6) == 1
    assert "key (Temperley): " in capsys.readouterr().err
    assert run("--prompts", "10", "--takes", "1", "--check", str(baseline)) == 1
    assert "no figures for 10 prompts, 1 takes" in capsys.readouterr().err


def test_what_can_no_longer_be_measured_is_named_but_for_what_needs_the_corpus(tmp_path: Path) -> None:
    rows = {row.title: row for row in ROWS}
    title, with_corpus = "key (Temperley)", "holds a run of 8 notes from `train`"
    path = tmp_path / "baseline.json"
    music.keep(path, "some", {name: (rows[name], Figure(0.5, 0.1, 20)) for name in (title, with_corpus)})
    assert music.compare(path, "some", {}, False) == [f"{title}: nothing to measure, was 50.0 % (20)"]
    assert len(music.compare(path, "some", {}, True)) == 2


def test_a_corpus_adds_a_column_of_real_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(music, "read_corpus", lambda folder, cache: corpus(3, 2))
    results = tmp_path / "results.md"
    main(["--prompts", "10", "--corpus", "somewhere"], composer(), results, tmp_path / "baseline.json")
    lines = results.read_text(encoding="utf-8").splitlines()
    assert "| ends on the tonic in the bass | 70.0 % (20) | 100.0 % (3) | 90 % |" in lines  # three have other keys
    assert "| holds a run of 24 notes from `train` | 100.0 % (20) | 100.0 % (3) | real or less |" in lines


@pytest.mark.parametrize("arguments", [["--prompts", "0"], ["--prompts", "101"], ["--check", "nowhere.json"]])
def test_what_cannot_be_is_refused_before_anything_is_composed(arguments: list[str]) -> None:
    def never(_: Path | None) -> Compose:
        raise AssertionError

    with pytest.raises(SystemExit):
        main(arguments, never)


def test_prompts_are_a_hundred_ten_of_a_kind_and_their_wishes_can_be_measured() -> None:
    assert len({(prompt.title, prompt.artist) for prompt in PROMPTS}) == len(PROMPTS) == 100
    assert [sum(prompt.kind == kind for prompt in PROMPTS) for kind in KINDS] == [10] * 10
    for prompt in PROMPTS:
        assert set(prompt.single) <= set(prompt.instruments) <= set(CHANNELS), prompt
        assert prompt.metre is None or prompt.metre in CLASS_OF_METRE, prompt
        assert prompt.tempo is None or 30 <= prompt.tempo[0] <= prompt.tempo[1] <= 240, prompt
        assert prompt.key is None or prompt.key.mode in ("major", "minor"), prompt


def test_some_prompts_are_evenly_of_all_kinds_and_more_of_them_hold_fewer() -> None:
    assert [prompt.kind for _, prompt in evenly(10)] == list(KINDS)
    assert evenly(25)[:10] == evenly(10)
    assert sorted(number for number, _ in evenly(100)) == list(range(100))

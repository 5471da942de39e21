"""The grooves' file, made of a small data set like Groove."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import mido
import pytest

from models.errors import InputError
from models.music.form.drums import Bar, Hit, read_grooves
from models.training.grooves import build_grooves, fill_bar, performance_of, spread, typical_bars, velocity_class

Note = tuple[float, int, int]
"""Onset in quarters, pitch, velocity."""

ROCK = [(0.0, 36, 105), (1.0, 40, 120), (2.0, 36, 105), (3.0, 38, 120), *((0.5 * i, 22, 75) for i in range(8))]
SHUFFLE = [(0.0, 36, 105), (1.0, 38, 120), (2.0, 36, 105), (3.0, 38, 120),
           *((i + late, 51, 75) for i in range(4) for late in (0, 2 / 3))]
FILL = [(0.0, 36, 100), *((2 + 0.25 * i, 38 if i < 4 else 58, 60 + 5 * i) for i in range(8))]


def midi(*bars: Sequence[Note], late: float = 0.0) -> bytes:
    """The bars one after another, everything played so many quarters late."""
    events = []
    for number, bar in enumerate(bars):
        for onset, pitch, velocity in bar:
            tick = round(480 * (4 * number + onset + late))
            events += [(tick, 1, pitch, velocity), (tick + 30, 0, pitch, 0)]
    track, before = mido.MidiTrack(), 0
    for tick, _, pitch, velocity in sorted(events):
        track.append(mido.Message("note_on", channel=9, note=pitch, velocity=velocity, time=tick - before))
        before = tick
    stream = io.BytesIO()
    mido.MidiFile(ticks_per_beat=480, tracks=[track]).save(file=stream)
    return stream.getvalue()


def data_set(folder: Path, *performances: tuple[str, str, str, bytes]) -> Path:
    """A folder of performances: style, kind, metre, MIDI."""
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "midi.zip", "w") as archive, (folder / "info.csv").open("w", newline="") as table:
        rows = csv.writer(table)
        rows.writerow(["drummer", "style", "bpm", "beat_type", "time_signature", "midi_filename"])
        for number, (style, kind, metre, data) in enumerate(performances):
            archive.writestr(f"drummer1/{number}.mid", data)
            rows.writerow(["drummer1", style, 100 + number, kind, metre, f"drummer1/{number}.mid"])
    return folder


def hits(bar: Bar) -> set[tuple[int, int]]:
    return {(hit.tick, hit.pitch) for hit in bar.hits}


def only_bar(*bars: Sequence[Note], late: float = 0.0) -> Bar:
    performance = performance_of(midi(*bars, late=late), 120)
    assert performance is not None
    [bar] = typical_bars(performance)
    return bar


def test_a_data_set_becomes_a_file_that_is_read_back(tmp_path: Path) -> None:
    groove = data_set(tmp_path / "groove", ("rock/groove8", "beat", "4-4", midi(*[ROCK] * 4)),
                      ("jazz/swing", "beat", "4-4", midi(*[SHUFFLE] * 4)), ("rock", "beat", "6-8", midi(*[ROCK] * 4)),
                      ("rock", "fill", "4-4", midi(FILL)))
    grooves = build_grooves(groove, tmp_path / "out.json.gz")
    assert grooves == read_grooves(tmp_path / "out.json.gz")
    assert set(grooves.beats) == {"rock", "swing"}
    assert [bar.bpm for bar in grooves.beats["rock"]] == [100], "of the metres only 4/4"
    assert hits(grooves.beats["rock"][0]) == {(0, 36), (24, 38), (48, 36), (72, 38), *((12 * i, 42) for i in range(8))}
    assert hits(grooves.fills["rock"][0]) == {(0, 36), *((48 + 6 * i, 38 if i < 4 else 43) for i in range(8))}
    assert [hit.velocity for hit in grooves.fills["rock"][0].hits] == [velocity_class(v) for v in (100, *range(60, 100, 5))]


def test_the_same_data_gives_the_same_bytes(tmp_path: Path) -> None:
    groove = data_set(tmp_path / "groove", ("rock", "beat", "4-4", midi(*[ROCK] * 4)), ("rock", "fill", "4-4", midi(FILL)))
    for name in ("one.gz", "other.gz"):
        build_grooves(groove, tmp_path / name)
    data = (tmp_path / "one.gz").read_bytes()
    assert data == (tmp_path / "other.gz").read_bytes()
    assert data[4:8] == bytes(4), "no time in the gzip header"
    assert json.loads(gzip.decompress(data))["version"] == 1


@pytest.mark.parametrize("late", [-0.05, 0.0, 0.05])
def test_the_grid_is_found_by_the_eighths_however_late_all_is_played(late: float) -> None:
    before = [(0.5, 42, 60)]  # a bar in front, so that being early is not before the start
    straight, swing = (only_bar(before, bar, bar, bar, late=late) for bar in (ROCK, SHUFFLE))
    assert not straight.swing
    assert {tick % 24 for tick, _ in hits(straight)} == {0, 12}
    assert swing.swing
    assert {tick % 24 for tick, _ in hits(swing)} == {0, 16}


def test_a_light_swing_is_one() -> None:
    lazy = [(onset if onset % 1 == 0 else int(onset) + 0.58, pitch, velocity) for onset, pitch, velocity in SHUFFLE]
    assert only_bar(lazy, lazy).swing


def test_what_keeps_to_no_grid_is_left_out() -> None:
    # Off the quarters by all that there is, evenly: no grid is nearer than another.
    assert performance_of(midi([(0.0, 36, 9), *((i / 17, 38, 100) for i in range(1, 68))]), 120) is None
    assert performance_of(midi(ROCK), 120) is not None


def test_a_note_just_before_the_bar_line_belongs_to_the_next_bar() -> None:
    early = [*ROCK, (3.97, 57, 110)]
    performance = performance_of(midi(early, ROCK, ROCK), 120)
    assert performance is not None
    assert (0, 57) not in performance.bars[0]
    assert (0, 57) in performance.bars[1]


def test_ghosts_and_crashes_of_single_bars_are_dropped() -> None:
    ghost, crash = (1.75, 38, 20), (0.0, 55, 120)
    seldom = only_bar(*([*ROCK, (onset, 38, 20)] for onset in (0.75, 1.75, 2.75, 3.75)))
    assert hits(seldom) == hits(only_bar(ROCK, ROCK))
    often = only_bar([*ROCK, ghost, crash], [*ROCK, ghost, crash], [*ROCK, crash], ROCK)
    assert (42, 38) in hits(often)
    assert (0, 49) not in hits(often)


def test_a_usual_hit_that_a_typical_bar_lacks_is_put_in() -> None:
    bars = [[note for note in ROCK if note != (missing, 22, 75)] for missing in (0.5, 1.5, 2.5, 3.5)]
    assert hits(only_bar(*bars)) == hits(only_bar(ROCK, ROCK))


def test_a_typical_bar_has_the_usual_velocities_and_a_kick_that_is_heard() -> None:
    soft = [(onset, pitch, 30 if pitch == 36 else velocity) for onset, pitch, velocity in ROCK]
    loud = [(onset, pitch, 15 if pitch == 22 else velocity) for onset, pitch, velocity in soft]
    bar = only_bar(soft, soft, loud)
    assert {hit.velocity for hit in bar.hits if hit.pitch == 42} == {velocity_class(75)}
    assert {hit.velocity for hit in bar.hits if hit.pitch == 38} == {7}
    assert {hit.velocity for hit in bar.hits if hit.pitch == 36} == {5}


def test_a_bar_without_time_or_with_one_drum_is_no_beat() -> None:
    for bar in (ROCK[:1], [note for note in ROCK if note[0] < 2], [note for note in ROCK if note[1] == 22]):
        performance = performance_of(midi(bar, bar, bar), 120)
        assert performance is not None
        assert typical_bars(performance) == []


def test_a_fill_leads_on_with_drums() -> None:
    for bar, is_fill in ((FILL, True), ([note for note in FILL if note[0] < 3], False),
                         ([*((0.5 * i, 51, 90) for i in range(8)), (3.5, 38, 90)], False)):
        performance = performance_of(midi(ROCK[:3], bar), 120)
        assert performance is not None
        assert (fill_bar(performance) is not None) == is_fill


def test_chosen_bars_go_from_sparse_to_full_and_differ() -> None:
    bars = [Bar(100, False, tuple(Hit(6 * place, 38, 5) for place in range(number))) for number in (3, 5, 5, 8, 9, 16, 16)]
    chosen = [len(bar.hits) for bar in spread(bars, 5)]
    assert chosen == sorted(set(chosen))
    assert chosen[0] == 3
    assert chosen[-1] == 16
    assert not {8, 9} <= set(chosen), "8 of 9 hits are the same bar"


@pytest.mark.parametrize(("velocity", "class_"), [(1, 0), (22, 0), (30, 1), (64, 3), (100, 6), (120, 7), (127, 7)])
def test_velocities_have_eight_classes(velocity: int, class_: int) -> None:
    assert velocity_class(velocity) == class_


def test_a_folder_without_the_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"info\.csv and midi\.zip"):
        build_grooves(tmp_path, tmp_path / "out.gz")
    with pytest.raises(InputError, match="no performance"):
        build_grooves(data_set(tmp_path / "groove"), tmp_path / "out.gz")
    with pytest.raises(InputError, match=r"drummer1/0\.mid"):
        build_grooves(data_set(tmp_path / "groove", ("rock", "beat", "4-4", b"no MIDI")), tmp_path / "out.gz")
    assert not (tmp_path / "out.gz").exists()

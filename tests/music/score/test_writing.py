"""Scores as MIDI files: the notes come back, the file is whole or absent."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import mido
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import RenderingError, ScoreError
from models.music.score import NOTE, Metre, Score, Tempo, read_midi, write_midi
from models.music.score.programs import PATCHES
from tests.music.score.building import meta, off, on, program, read, score_of, spans

ROOT = Path(__file__).resolve().parents[3]
CORPUS = ROOT / "../shared/data/la_seeds"

Row = tuple[int, int, int, int, int, bool]
rows = st.lists(
    st.tuples(st.integers(0, 3000), st.integers(1, 3000), st.integers(0, 127), st.integers(1, 127),
              st.sampled_from((0, 24, 40, 48, 71, 90, 119)), st.booleans()),
    max_size=40)


def written(score: Score) -> bytes:
    stream = io.BytesIO()
    write_midi(score, stream)
    return stream.getvalue()


def sounding(score: Score) -> list[tuple[int, ...]]:
    notes = score.notes
    return sorted((
        int(n["onset_tick"]), round(n["onset_ms"], 6), round(n["duration_ms"], 6), int(n["pitch"]), int(n["velocity"]),
        bool(n["drum"]), -1 if n["drum"] else int(n["program"])) for n in notes)


def without_overlaps(notes: Sequence[Row]) -> list[Row]:
    """One note of a pitch and instrument at a time."""
    result: list[Row] = []
    free: dict[tuple[int, int], int] = {}
    for note in sorted(notes):
        onset, duration, pitch, _, number, drum = note
        key = (pitch, -1 if drum else number)
        if onset >= free.get(key, 0):
            result.append(note)
            free[key] = onset + duration
    return result


@given(rows.map(without_overlaps).filter(bool))
def test_reading_gives_back_what_was_written(notes: list[Row]) -> None:
    score = score_of(notes, name="Étude 🎹")
    again = read_midi(io.BytesIO(written(score)))
    assert sounding(again) == sounding(score)
    assert (again.tempos, again.metres, again.ticks_per_quarter) == (score.tempos, score.metres, 1000)
    assert again.name == score.name


@given(rows.filter(bool))
def test_overlaps_keep_every_start_and_never_grow(notes: list[Row]) -> None:
    again = read_midi(io.BytesIO(written(score_of(notes))))
    starts = sorted((note[0], note[2], note[3], note[5]) for note in notes)
    assert sorted((int(n["onset_tick"]), int(n["pitch"]), int(n["velocity"]), bool(n["drum"]))
                  for n in again.notes) == starts
    assert sounding(read_midi(io.BytesIO(written(again)))) == sounding(again)


@given(st.lists(st.tuples(st.integers(1, 4000), st.integers(1, 2**24 - 1)), max_size=5),
       st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 500)), min_size=1, max_size=10),
       st.integers(24, 32767))
def test_tempos_and_metres_survive(tempos: list[tuple[int, int]], notes: list[tuple[int, int]], per: int) -> None:
    changes = [meta(t, "set_tempo", tempo=us) for t, us in sorted(dict(tempos).items())]
    metres = [meta(0, "time_signature", numerator=7, denominator=8),
              meta(90, "time_signature", numerator=3, denominator=2)]
    events = [event for i, (t, d) in enumerate(notes) for event in (on(t, i), off(t + d, i))]
    first = read(changes, metres, sorted(events, key=lambda event: event[0]), ticks_per_quarter=per)
    again = read_midi(io.BytesIO(written(first)))
    assert sounding(again) == sounding(first)
    assert (again.tempos, again.metres) == (first.tempos, first.metres)
    assert again.metres == (Metre(0, 7, 8), Metre(90, 3, 2))


def test_an_overlapped_note_ends_where_the_next_of_its_pitch_begins() -> None:
    score = score_of([(0, 500, 60, 64, 0, False), (200, 100, 60, 64, 0, False), (0, 500, 60, 64, 40, False)])
    assert sorted(spans(read_midi(io.BytesIO(written(score))))) == [(60, 0, 200), (60, 0, 500), (60, 200, 300)]


def test_of_two_equal_notes_at_once_the_longer_one_sounds() -> None:
    score = score_of([(0, 500, 60, 64, 0, False), (0, 300, 60, 50, 0, False)])
    assert sorted(spans(read_midi(io.BytesIO(written(score))))) == [(60, 0, 0), (60, 0, 500)]


def test_the_file_is_laid_out_as_the_seed_system_does_it() -> None:
    score = score_of([(0, 100, 72, 90, 73, False), (50, 100, 36, 90, 0, True)], name="Waltz")
    midi = mido.MidiFile(file=io.BytesIO(written(score)))
    assert (midi.type, midi.ticks_per_beat, len(midi.tracks)) == (1, 1000, 2)
    conductor, notes = midi.tracks
    assert [message.type for message in conductor[:3]] == ["set_tempo", "time_signature", "track_name"]
    assert (conductor[0].tempo, conductor[1].numerator, conductor[1].denominator) == (1_000_000, 4, 4)
    assert [(m.channel, m.program, m.time) for m in notes[:16]] == [(c, PATCHES[c], 0) for c in range(16)]
    assert [(m.channel, m.note) for m in notes if m.type == "note_on"] == [(8, 72), (9, 36)]


def test_the_same_score_gives_the_same_bytes() -> None:
    score = score_of([(i * 10, 100, 40 + i, 64, i, i % 5 == 0) for i in range(40)])
    assert written(score) == written(score)


def test_fifteen_programs_at_once_fit_and_sixteen_do_not() -> None:
    crowd = [(0, 100, 60, 64, 100 + i, False) for i in range(15)]
    assert sounding(read_midi(io.BytesIO(written(score_of(crowd))))) == sounding(score_of(crowd))
    with pytest.raises(ScoreError, match="more than 15 instruments play at once"):
        written(score_of([*crowd, (0, 100, 60, 64, 115, False)]))


def test_programs_take_turns_on_channels_that_are_silent() -> None:
    score = score_of([(i * 100, 250, 60, 64, i % 50, False) for i in range(120)])
    assert sounding(read_midi(io.BytesIO(written(score)))) == sounding(score)


def test_a_program_keeps_to_itself_when_channels_change_hands_at_one_tick() -> None:
    crowd = [(0, 100, 60, 64, i, False) for i in range(15)]
    score = score_of([*crowd, *((100, 0, 60, 64, 20 + i, False) for i in range(15))])
    assert sounding(read_midi(io.BytesIO(written(score)))) == sounding(score)


def test_the_drum_kit_is_kept() -> None:
    score = read([program(0, 25, channel=9), on(0, 36, channel=9), off(50, 36, channel=9)])
    assert read_midi(io.BytesIO(written(score))).notes["program"].tolist() == [25]


def test_a_score_without_notes_is_a_file_without_notes() -> None:
    data = written(Score(np.zeros(0, dtype=NOTE)))
    assert all(not m.type.startswith("note") for track in mido.MidiFile(file=io.BytesIO(data)).tracks for m in track)


@pytest.mark.parametrize("changes", [
    {"tempos": ()}, {"tempos": (Tempo(5, 500_000),)}, {"tempos": (Tempo(0, 0),)}, {"tempos": (Tempo(0, 1 << 24),)},
    {"metres": (Metre(0, 0, 4),)}, {"metres": (Metre(0, 3, 5),)}, {"ticks_per_quarter": 0},
    {"ticks_per_quarter": 40_000},
])
def test_a_score_that_midi_cannot_hold_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ScoreError, match="cannot be written as MIDI"):
        written(replace(score_of([(0, 100, 60, 64, 0, False)]), **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(("column", "value"), [
    ("pitch", 128), ("program", 200), ("onset_tick", -1), ("onset_ms", np.nan)])
def test_a_note_that_midi_cannot_hold_is_refused(column: str, value: float) -> None:
    score = score_of([(0, 100, 60, 64, 0, False)])
    score.notes[column] = value
    with pytest.raises(ScoreError, match="cannot be written as MIDI"):
        written(score)


def test_a_pause_longer_than_a_file_can_say_is_refused() -> None:
    with pytest.raises(ScoreError, match="silent for"):
        written(score_of([(1 << 28, 100, 60, 64, 0, False)]))


SCORE = score_of([(0, 100, 60, 64, 0, False)])


def test_a_path_holds_the_whole_file(tmp_path: Path) -> None:
    write_midi(SCORE, tmp_path / "a.mid")
    write_midi(SCORE, str(tmp_path / "a.mid"))
    assert (tmp_path / "a.mid").read_bytes() == written(SCORE)
    assert os.listdir(tmp_path) == ["a.mid"]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mid").write_bytes(b"before")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RenderingError, match="No space left"):
        write_midi(SCORE, tmp_path / "a.mid")
    assert os.listdir(tmp_path) == ["a.mid"]
    assert (tmp_path / "a.mid").read_bytes() == b"before"


def test_a_target_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    closed = io.BytesIO()
    closed.close()
    for target in (tmp_path / "missing/a.mid", tmp_path / "folder", tmp_path / "file/a.mid", "", "a\0b", closed):
        with pytest.raises(RenderingError, match="cannot be written") as caught:
            write_midi(SCORE, target)
        assert len(str(caught.value).splitlines()) == 1
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the seed MIDI files are not beside this checkout")
def test_real_pieces_come_back() -> None:
    for path in sorted(CORPUS.glob("*.mid")):
        score = read_midi(path)
        once = read_midi(io.BytesIO(written(score)))
        assert len(once) == len(score)
        assert sorted(once.notes["onset_ms"]) == sorted(score.notes["onset_ms"])
        assert sounding(read_midi(io.BytesIO(written(once)))) == sounding(once)

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
from models.music.score.midi import tracks_of
from models.music.score.playable import PAN, playable
from models.music.score.programs import PATCHES
from models.music.score.seats import PLACES, seats
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


def in_parts(notes: Sequence[Row], parts: Sequence[int], names: tuple[str, ...]) -> Score:
    """Notes, which come by onset, each with its part."""
    return replace(score_of(notes, name="Trio"), parts=names, part=np.array(parts, dtype=np.uint8))


def tracks(score: Score) -> list[tuple[str, list[int], list[int]]]:
    """Name, channels of the notes and programs of each track but the first."""
    midi = mido.MidiFile(file=io.BytesIO(written(score)), charset="utf-8")
    assert midi.type == 1
    return [(track.name, sorted({m.channel for m in track if m.type == "note_on"}),
             [m.program for m in track if m.type == "program_change"]) for track in midi.tracks[1:]]


def test_each_part_has_a_track_and_a_channel() -> None:
    notes = [(0, 100, 76, 64, 40, False), (0, 100, 72, 60, 40, False), (0, 100, 60, 50, 0, False),
             (0, 100, 36, 90, 8, True), (50, 100, 74, 64, 40, False)]
    score = in_parts(notes, [0, 1, 2, 3, 0], ("Violin 1", "Violin 2", "Piano", "Schlagzeug ♪"))
    assert tracks(score) == [
        ("Violin 1", [3], [40]), ("Violin 2", [4], [40]), ("Piano", [0], [0]), ("Schlagzeug ♪", [9], [8])]
    again = read_midi(io.BytesIO(written(score)))
    assert (again.name, again.tempos, again.metres) == (score.name, score.tempos, score.metres)
    assert again.notes.tolist() == score.notes.tolist()  # parts go down the page, so even the order is the same


def test_programs_of_a_part_come_before_its_notes_and_its_name() -> None:
    track = mido.MidiFile(file=io.BytesIO(written(in_parts([(0, 100, 76, 64, 40, False)], [0], ("Violin",))))).tracks[1]
    assert [message.type for message in track[:3]] == ["program_change", "track_name", "note_on"]


@given(st.data(), rows.filter(bool))
def test_parts_change_nothing_about_the_notes(data: st.DataObject, notes: list[Row]) -> None:
    """Where pitches of an instrument do not overlap, so that nothing is cut."""
    notes = without_overlaps(notes)
    part = data.draw(st.lists(st.integers(0, 3), min_size=len(notes), max_size=len(notes)))
    score = in_parts(notes, part, ("A", "B", "C", "D"))
    without, again = (read_midi(io.BytesIO(written(one))) for one in (replace(score, part=None), score))
    assert sounding(again) == sounding(without) == sounding(score)
    assert again.notes["onset_tick"].tolist() == without.notes["onset_tick"].tolist()


@given(st.lists(st.tuples(st.integers(2, 30), st.integers(0, 30), st.integers(60, 61), st.sampled_from((0, 1, 15, 16)),
                          st.integers(0, 3)), min_size=1, max_size=40), st.booleans())
def test_a_player_hears_every_note_that_is_read(notes: list[tuple[int, ...]], hand_over: bool) -> None:
    """Parts share channels here, and programs too: no note is ended by one that a later track ends at its start."""
    crowd = [(0, 1, 30, program, 4) for program in range(15)]
    notes = [*crowd, *sorted((on, length, pitch, number if hand_over else number % 2, part)
                             for on, length, pitch, number, part in notes)]
    data = written(in_parts([(on, length, pitch, 64, number, False) for on, length, pitch, number, _ in notes],
                            [part for *_, part in notes], tuple("ABCDE")))
    played: list[tuple[int, int, int, int]] = []
    on: dict[tuple[int, int], int] = {}
    programs_now: dict[int, int] = {}
    for tick, message in as_played(data):
        key = (getattr(message, "channel", -1), getattr(message, "note", -1))
        if message.type == "program_change":
            programs_now[message.channel] = message.program
        elif message.type == "note_on":
            assert key not in on
            on[key] = tick
        elif message.type == "note_off":
            played.append((on.pop(key), tick, key[1], programs_now[key[0]]))
    assert not on
    again = read_midi(io.BytesIO(data)).notes
    ends = np.rint(again["onset_ms"] + again["duration_ms"]).astype(int)
    assert sorted(played) == sorted(zip(
        again["onset_tick"].tolist(), ends.tolist(), again["pitch"].tolist(), again["program"].tolist(), strict=True))
    assert sorted((n["onset_tick"], n["pitch"], n["program"]) for n in again) == sorted(
        (on, pitch, number) for on, _, pitch, number, _ in notes)


def as_played(data: bytes) -> list[tuple[int, mido.Message]]:
    """Messages as synthesizers order them: by tick, at one tick by track."""
    result: list[tuple[int, mido.Message]] = []
    for track in mido.MidiFile(file=io.BytesIO(data)).tracks:
        tick = 0
        for message in track:
            tick += message.time
            result.append((tick, message))
    return sorted(result, key=lambda entry: entry[0])


def test_two_players_may_hold_the_same_pitch() -> None:
    notes = [(0, 500, 60, 64, 40, False), (200, 500, 60, 50, 40, False), (300, 500, 60, 40, 40, False)]
    score = in_parts(notes, [0, 1, 0], ("Violin 1", "Violin 2"))
    assert spans(read_midi(io.BytesIO(written(score)))) == [(60, 0, 300), (60, 200, 700), (60, 300, 800)]


def test_two_players_may_start_the_same_note() -> None:
    notes = [(0, 500, 60, 64, 40, False), (0, 300, 60, 50, 40, False)]
    score = in_parts(notes, [0, 1], ("Violin 1", "Violin 2"))
    assert sounding(read_midi(io.BytesIO(written(score)))) == sounding(score)


def test_who_shares_a_channel_ends_before_the_same_note_of_an_earlier_track() -> None:
    crowd = [(0, 50, 30, 64, 50 + i, False) for i in range(14)]
    flutes = [(0, 500, 60, 64, 73, False), (500, 100, 60, 50, 73, False), (600, 100, 60, 50, 73, False)]
    score = in_parts([*crowd, *flutes], [*range(2, 16), 1, 0, 1], ("Flute 1", "Flute 2", *map(str, range(14))))
    heard = [span for span in spans(read_midi(io.BytesIO(written(score)))) if span[0] == 60]
    assert heard == [(60, 0, 499), (60, 500, 600), (60, 600, 700)]


@pytest.mark.parametrize(("others", "channels"), [(14, [8, 8, 8]), (13, [8, 15, 8]), (12, [8, 14, 15]), (1, [8, 10, 11])])
def test_players_share_a_channel_when_none_is_left(others: int, channels: list[int]) -> None:
    flutes = [(0, 100, 72 - 3 * i, 64, 73, False) for i in range(3)]
    crowd = [(0, 100, 60, 64, 96 + i, False) for i in range(others)]
    names = ("Flute 1", "Flute 2", "Flute 3", *(f"Other {i}" for i in range(others)), "Drums")
    score = in_parts([*flutes, *crowd, (0, 100, 36, 64, 0, True)], range(len(names)), names)
    found = tracks(score)
    assert [name for name, _, _ in found] == list(names)
    assert [own for _, own, _ in found[:3]] == [[channel] for channel in channels]
    assert [programs for _, _, programs in found] == [[73]] * 3 + [[96 + i] for i in range(others)] + [[0]]
    assert found[-1][1] == [9]
    alone = [own[0] for _, own, _ in found[3:]]
    assert len({*alone, *channels}) == len(alone) + len(set(channels))
    assert read_midi(io.BytesIO(written(score))).notes.tolist() == score.notes.tolist()


def test_of_equal_notes_that_share_a_channel_the_longer_one_sounds() -> None:
    crowd = [(0, 50, 30, 64, 50 + i, False) for i in range(14)]
    flutes = [(0, 300, 60, 64, 73, False), (0, 500, 60, 50, 73, False)]
    for part in ([0, 1], [1, 0]):
        score = in_parts([*flutes, *crowd], [*part, *range(2, 16)], ("Flute 1", "Flute 2", *map(str, range(14))))
        heard = [span for span in spans(read_midi(io.BytesIO(written(score)))) if span[0] == 60]
        assert sorted(heard) == [(60, 0, 0), (60, 0, 500)]
        played = [message for _, message in as_played(written(score)) if message.type[:4] == "note" and message.note == 60]
        assert [message.type for message in played] == ["note_on", "note_off"] * 2  # the short one is over before


def test_parts_survive_channels_that_change_hands() -> None:
    notes = [(i * 100, 250, 60, 64, i % 50, False) for i in range(120)]
    score = in_parts(notes, [i % 7 for i in range(120)], tuple("ABCDEFG"))
    assert read_midi(io.BytesIO(written(score))).notes.tolist() == score.notes.tolist()


def test_desks_of_one_instrument_sit_beside_each_other() -> None:
    notes = [(0, 100, 76, 64, 40, False), (0, 100, 72, 60, 40, False), (0, 100, 69, 60, 40, False), (0, 90, 60, 50, 0, False)]
    score = in_parts(notes, [0, 1, 2, 3], ("Violin 1", "Violin 2", "Violin 3", "Piano"))
    data = io.BytesIO(written(score))
    places = {channel: place for _, channel, place in seats(tracks_of(data))}
    violins = [places[own[0]] for _, own, _ in tracks(score)[:3]]
    assert violins == [PLACES[40] - 14, PLACES[40], PLACES[40] + 14]
    midi = mido.MidiFile(file=io.BytesIO(playable(tracks_of(data), score, tail_seconds=1.0)))
    panned = {m.channel: m.value for m in midi.tracks[0] if m.type == "control_change" and m.control == PAN}
    assert panned == places
    played = [m for m in midi.tracks[0] if m.type in ("program_change", "note_on")]
    assert {m.channel: m.program for m in played if m.type == "program_change"} == {3: 40, 4: 40, 5: 40, 0: 0}
    assert [m.channel for m in played if m.type == "note_on"] == [3, 4, 5, 0]


def test_parts_without_notes_and_names_with_odd_characters_are_written() -> None:
    score = in_parts([(0, 100, 60, 64, 0, False)], [1], ("Nobody", "\udc80 Piano"))
    assert tracks(score) == [("Nobody", [], []), ("? Piano", [0], [0])]
    assert tracks(replace(score, notes=score.notes[:0], part=np.zeros(0, dtype=int), parts=())) == []


@pytest.mark.parametrize("part", [[0], [0, 2], [0, -1], [0.0, 1.0], [[0, 1]]])
def test_a_part_that_no_player_has_is_refused(part: list[int]) -> None:
    score = score_of([(0, 100, 60, 64, 0, False), (0, 100, 64, 64, 0, False)])
    with pytest.raises(ScoreError, match="cannot be written as MIDI: parts must be"):
        written(replace(score, parts=("A", "B"), part=np.array(part)))


def test_scores_are_equal_when_all_they_hold_is() -> None:
    def score(**changes: object) -> Score:
        return replace(in_parts([(0, 100, 60, 64, 0, False), (5, 100, 62, 64, 0, False)], [0, 1], ("A", "B")),
                       **changes)  # type: ignore[arg-type]

    assert score() == score(part=np.array([0, 1]))
    assert score(part=None) == score(part=None)
    others = (score(part=np.array([1, 0])), score(part=None), score(parts=("A", "C")), score(name=""),
              score(notes=score().notes[:1]), score(notes=score().notes[::-1]))
    assert all(score() != other for other in (*others, "a score"))


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

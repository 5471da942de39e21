"""What a MIDI file says, as a score: pairing, time, programs."""

from __future__ import annotations

import io
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.music.score import Metre, Tempo, read_midi
from models.music.score.midi import SEED_TEMPO_US, STANDARD_TEMPO_US
from tests.music.score.building import meta, midi_file, off, on, program, read, spans


def test_a_note_on_without_velocity_ends_a_note() -> None:
    assert spans(read([on(0, 60), on(100, 60, velocity=0)])) == [(60, 0, 100)]


def test_overlapping_equal_pitches_end_in_the_order_they_began() -> None:
    assert spans(read([on(0, 60), on(10, 60), off(50, 60), off(90, 60)])) == [(60, 0, 50), (60, 10, 90)]


def test_two_tracks_on_one_channel_swap_the_ends_of_equal_pitches() -> None:
    long, short = [on(0, 60), off(400, 60)], [on(100, 60), off(200, 60)]
    assert spans(read(long, short)) == [(60, 0, 200), (60, 100, 400)]


def test_two_channels_do_not_share_ends() -> None:
    long, short = [on(0, 60), off(400, 60)], [on(100, 60, channel=1), off(200, 60, channel=1)]
    assert spans(read(long, short)) == [(60, 0, 400), (60, 100, 200)]


def test_an_end_without_a_note_is_ignored() -> None:
    assert spans(read([off(5, 60), on(10, 60), off(20, 60), off(30, 60)])) == [(60, 10, 20)]


def test_a_note_that_never_ends_lasts_until_the_last_event_of_its_track() -> None:
    hanging = [on(0, 60), on(10, 62), off(70, 62)]
    assert spans(read(hanging, [on(0, 72), off(900, 72)])) == [(60, 0, 70), (72, 0, 900), (62, 10, 70)]


def test_a_late_end_of_track_is_an_event() -> None:
    assert spans(read([on(0, 60), meta(300, "end_of_track")])) == [(60, 0, 300)]


def test_what_stands_behind_the_end_of_a_track_is_not_music() -> None:
    data = bytes.fromhex("4d546864 00000006 0000 0001 01f4 4d54726b 00000010"
                         "00 903c40 64 803c40 00 ff2f00 00 903e40".replace(" ", ""))
    assert [pitch for pitch, _, _ in spans(read_midi(io.BytesIO(data)))] == [60]


def test_a_program_change_behind_a_note_at_the_same_tick_counts_for_it() -> None:
    score = read([program(0, 40), on(0, 60), off(100, 60), on(200, 62), off(300, 62)], [program(200, 42)])
    assert score.notes["program"].tolist() == [40, 42]


def test_programs_belong_to_their_channel() -> None:
    score = read([program(0, 40, channel=3), on(0, 60), off(100, 60), on(100, 62, channel=3), off(200, 62, channel=3)])
    assert score.notes["program"].tolist() == [0, 40]


def test_only_the_tenth_channel_is_drums() -> None:
    score = read([on(0, 36, channel=9), off(9, 36, channel=9), on(10, 36, channel=10), off(19, 36, channel=10)])
    assert score.notes["drum"].tolist() == [True, False]


def test_a_file_without_tempo_is_read_at_120_and_by_the_seed_system_at_150() -> None:
    track = [on(500, 60), off(1000, 60)]
    assert spans(read(track)) == [(60, 500, 1000)]
    assert spans(read(track, compat=True)) == [(60, 400, 800)]
    assert read(track).tempos == (Tempo(0, STANDARD_TEMPO_US),)
    assert read(track, compat=True).tempos == (Tempo(0, SEED_TEMPO_US),)


def test_of_two_tempos_at_one_tick_the_later_track_wins() -> None:
    first = [meta(0, "set_tempo", tempo=250_000), on(0, 60), off(100, 60)]
    assert spans(read(first, [meta(0, "set_tempo", tempo=1_000_000)])) == [(60, 0, 200)]


def test_a_tempo_change_inside_a_note_counts_from_where_it_stands() -> None:
    track = [meta(0, "set_tempo", tempo=500_000), on(0, 60), meta(100, "set_tempo", tempo=1_000_000), off(200, 60)]
    assert spans(read(track)) == [(60, 0, 300)]


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 2**24 - 1)), max_size=8),
    st.lists(st.integers(0, 6000), min_size=1, max_size=8),
    st.integers(1, 32767),
)
def test_time_follows_the_tempo_map(tempos: list[tuple[int, int]], starts: list[int], per_quarter: int) -> None:
    events = sorted([meta(t, "set_tempo", tempo=us) for t, us in tempos], key=lambda event: event[0])
    notes = sorted([event for t in starts for event in (on(t, 60), off(t + 7, 60))], key=lambda event: event[0])
    in_force = dict(tempos)  # of several at one tick the last one counts

    def exact_ms(tick: int) -> Fraction:
        total, us = Fraction(0), STANDARD_TEMPO_US
        for at in range(tick):
            us = in_force.get(at, us)
            total += us
        return total / (1000 * per_quarter)

    last = exact_ms(max(starts) + 7)
    if last > 4 * 3600 * 1000:
        return
    score = read(events, notes, ticks_per_quarter=per_quarter)
    for note in score.notes:
        expected = float(exact_ms(int(note["onset_tick"])))
        assert math.isclose(note["onset_ms"], expected, rel_tol=1e-12, abs_tol=1e-9)


def test_the_clock_of_the_seed_system_adds_rounded_steps() -> None:
    # 2.5 ms a tick at 200 to a quarter: each step of one tick rounds to 2, to even.
    track = [meta(0, "set_tempo", tempo=500_000), *(on(t, 60 + t) for t in range(4)),
             *(off(100, 60 + t) for t in range(4))]
    assert [onset for _, onset, _ in spans(read(track, compat=True, ticks_per_quarter=200))] == [0, 2, 4, 6]
    assert [onset for _, onset, _ in spans(read(track, ticks_per_quarter=200))] == [0, 2.5, 5, 7.5]


def test_ends_that_end_nothing_and_lone_tempos_are_no_steps_of_that_clock() -> None:
    track = [meta(0, "set_tempo", tempo=500_000), off(1, 60), meta(2, "set_tempo", tempo=500_000),
             on(3, 62), off(9, 62)]
    assert spans(read(track, compat=True, ticks_per_quarter=200)) == [(62, 8, 23)]  # 7.5 and 15 in one step each


def test_a_note_that_never_ends_may_end_with_a_tempo_in_that_clock() -> None:
    track = [on(0, 60), meta(3, "set_tempo", tempo=500_000)]
    assert spans(read(track, compat=True, ticks_per_quarter=200)) == [(60, 0, 6)]


def test_metres_begin_at_the_start_and_impossible_ones_are_left_out() -> None:
    track = [meta(0, "key_signature", key="C"), meta(10, "time_signature", numerator=0, denominator=4),
             meta(20, "time_signature", numerator=3, denominator=8),
             meta(30, "time_signature", numerator=3, denominator=2**40), on(40, 60), off(50, 60)]
    assert read(track).metres == (Metre(0, 4, 4), Metre(20, 3, 8))


def test_the_name_of_the_first_track_is_the_name_of_the_score() -> None:
    score = read([meta(0, "track_name", name="Zeile 1\r\nZeile 2\x00"), on(0, 60), off(9, 60)],
                 [meta(0, "track_name", name="other")])
    assert score.name == "Zeile 1 Zeile 2"


def test_notes_come_in_the_order_of_their_starts() -> None:
    score = read([on(50, 60), off(60, 60)], [on(0, 62), off(100, 62)], [on(20, 64), off(30, 64)])
    assert np.diff(score.notes["onset_ms"]).min() >= 0


def test_unknown_chunks_and_system_messages_are_skipped(tmp_path: Path) -> None:
    data = midi_file([on(0, 60), off(100, 60)]).getvalue()
    track = bytes.fromhex("00f003010203 00f70101 00f2 0102 00ff7f0101 00903c40 64 3c00 00ff2f00".replace(" ", ""))
    chunk = b"XFIH" + (3).to_bytes(4, "big") + b"abc" + b"MTrk" + len(track).to_bytes(4, "big") + track
    path = tmp_path / "odd.mid"
    path.write_bytes(data[:14] + chunk)
    assert spans(read_midi(path)) == spans(read_midi(str(path))) == [(60, 0, 100)]

"""Where a piece goes on: its tempo, metre and key are those of that place."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.music.score.notes import Score
from models.music.vocabulary.carried_on import CarriedOn, read_carried_on
from models.music.vocabulary.los_angeles import TIME
from tests.music.score.building import Event, meta, midi_file, off, on


def carried_on(folder: Path, *events: Event) -> CarriedOn:
    (folder / "piece.mid").write_bytes(midi_file(sorted(events, key=lambda event: event[0])).getvalue())
    return read_carried_on(folder / "piece.mid")


def quarters(first: int, count: int, pitch: int = 60, channel: int = 0) -> list[Event]:
    """So many quarters of 500 ticks from the first one on."""
    return [event for number in range(first, first + count) for event in (
        on(500 * number, pitch, channel=channel), off(500 * number + 490, pitch, channel=channel))]


def place_in_bar(piece: CarriedOn) -> float:
    """Quarters from the beginning of a bar to the last note, as a clock of one tempo counts them."""
    steps = sum(piece.triplets[number] - TIME for number in range(0, len(piece.triplets), 3))
    quarter = piece.tempo.us_per_quarter / 10_000
    return steps / quarter % (piece.meter.beats * 4 / piece.meter.unit)


def test_a_piece_that_changes_its_tempo_goes_on_in_the_new_one(tmp_path: Path) -> None:
    piece = carried_on(tmp_path, meta(0, "set_tempo", tempo=1_000_000), meta(2000, "set_tempo", tempo=500_000), *quarters(0, 7))
    assert piece.bpm == 120
    assert place_in_bar(piece) == pytest.approx(2, abs=0.05)  # the third quarter of its second bar


def test_a_change_behind_the_last_note_counts_for_nothing(tmp_path: Path) -> None:
    piece = carried_on(tmp_path, meta(0, "set_tempo", tempo=1_000_000), *quarters(0, 4), meta(9000, "set_tempo", tempo=300_000))
    assert piece.bpm == 60


@pytest.mark.parametrize("count", [4, 5, 6])
def test_a_piece_that_changes_its_metre_goes_on_in_the_new_one(tmp_path: Path, count: int) -> None:
    piece = carried_on(tmp_path, meta(0, "time_signature", numerator=4, denominator=4),
                       meta(2000, "time_signature", numerator=3, denominator=4), *quarters(0, 4 + count))
    assert piece.metre == "3/4"
    assert place_in_bar(piece) % 1 == pytest.approx(0, abs=0.05)


def test_an_upbeat_that_an_id_cannot_hold_is_right_within_the_beat(tmp_path: Path) -> None:
    piece = carried_on(tmp_path, meta(0, "set_tempo", tempo=1_000_000), *quarters(3, 1))
    assert place_in_bar(piece) % 1 == pytest.approx(0, abs=0.05)


def test_only_drums_are_carried_on(tmp_path: Path) -> None:
    piece = carried_on(tmp_path, *quarters(0, 8, 36, channel=9))
    assert len(piece.triplets) == 24
    assert len(piece.header) == 6


def test_what_was_last_heard_is_recent(tmp_path: Path) -> None:
    piece = carried_on(tmp_path, *quarters(0, 120, 60), *quarters(120, 100, 61))
    assert isinstance(piece.recent, Score)
    assert set(piece.recent.notes["pitch"]) == {61}

"""Scores to ids."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import BinaryIO

import pytest

from models.errors import ScoreError
from models.music.score import Score, read_midi
from models.music.vocabulary.los_angeles import DURATION, HEADER_LENGTH, PITCH, encode, quantise
from tests.music.score.building import meta, midi_file, off, on, program, read, score_of

ROOT = Path(__file__).resolve().parents[3]
SEEDS = ROOT / "../shared/data/la_seeds"
HASHES = {  # of json.dumps(ids): sha256, first 32 digits; notes
    "MI-Seed-1": ("e0429c655ecf0fb6424c7a5bff7a20eb", 967),
    "MI-Seed-2": ("6653c2c30a063967aed68c708c45e91a", 969),
    "MI-Seed-3": ("432cf7d90009986c4a710b1544c5c83b", 386),
    "MI-Seed-4": ("88570428e233ba000b2bd959017b42a2", 429),
    "MI-Seed-5": ("f18a76ef8ace4579e8a63134b6337fdb", 391),
    "Piano-Seed-1": ("c1ea8d4578969ee1bbe750c222294737", 298),
    "Piano-Seed-2": ("715c913f48d91507ffee52d6c49b7387", 72),
    "Piano-Seed-3": ("2f4ddad275e6f08462d625b6129a2784", 125),
    "Piano-Seed-4": ("4c1cdffdfeed97ef724434fd135cc6f0", 112),
    "Piano-Seed-5": ("2b17c3c83d7039ba8d43a9ba2f3ff242", 968),
}


@pytest.mark.skipif(not SEEDS.is_dir(), reason="the seed MIDI files are not beside this checkout")
@pytest.mark.parametrize("name", HASHES)
def test_the_seed_pieces_have_the_ids_of_the_seed_system(name: str) -> None:
    encoded = encode(read_midi(SEEDS / f"Los-Angeles-Music-Composer-{name}.mid", compat=True))
    assert (hashlib.sha256(json.dumps(encoded.ids).encode()).hexdigest()[:32], encoded.notes) == HASHES[name]
    assert encoded.dropped_notes == 0


def made_up(number: int) -> BinaryIO:
    """A piece with tempo changes inside of notes, chords, drums, programs that change, and equal pitches that overlap."""
    state = number

    def draw(below: int) -> int:
        nonlocal state
        state = (1103515245 * state + 12345) % 2**31
        return (state >> 8) % below

    tempos = [meta(137 * place, "set_tempo", tempo=300_000 + draw(600_000)) for place in range(1 - number % 2, 30)]
    tracks = []
    for channel in (0, 1, 3, 9):
        events, tick = [program(0, draw(96), channel)], 0
        for _ in range(60):
            tick += draw(150) * draw(3)
            pitch = 20 + draw(100)
            events += [on(tick, pitch, 1 + draw(127), channel), off(tick + 1 + draw(400), pitch, channel)]
            if not draw(9):
                events.append(program(tick, draw(96), channel))
        tracks.append(sorted(events, key=lambda event: event[0]))
    return midi_file(tempos, *tracks, ticks_per_quarter=(96, 220, 480)[number % 3])


@pytest.mark.parametrize(("number", "compat", "digest", "notes"), [
    (1, True, "6520f8714e792bbb4859b3ee1b9fbf9a", 136),
    (1, False, "a22bf3aad1f0ca683a20ee7691ffc0d2", 136),
    (2, True, "c6c7c5152efe7bea1cbe8aa6c8cda5b3", 150),
    (2, False, "f46c73ba1f75b1e87b0d220455cb7a31", 150),
    (3, True, "cd84e8858a79e7bf8467804f6b09b7e5", 187),
    (3, False, "487233a91ec5b627814e6c1a80562763", 187),
    (4, True, "cab3867cf3fc60a18db5a57b258b1c47", 142),
    (4, False, "ccfd27d01365a966bc16a9cd8a14e509", 142),
])
def test_made_up_pieces_have_the_ids_they_had_when_the_seed_pieces_agreed(
    number: int, compat: bool, digest: str, notes: int,
) -> None:
    """Wherever this runs: the seed pieces themselves are not ours to ship."""
    encoded = encode(read_midi(made_up(number), compat=compat))
    assert (hashlib.sha256(json.dumps(encoded.ids).encode()).hexdigest()[:32], encoded.notes) == (digest, notes)


def notes_of(score: Score, *, nearest: bool = False) -> list[tuple[int, int, int, int, int]]:
    """T, duration, velocity code, channel, pitch of each note."""
    ids = encode(score, nearest=nearest).ids[HEADER_LENGTH:]
    result = []
    for t, d, p in zip(ids[::3], ids[1::3], ids[2::3], strict=True):
        result.append((t, *divmod(d - DURATION, 8), *divmod(p - PITCH, 128)))
    return result


def test_chords_run_from_the_top_down_with_drums_by_their_number() -> None:
    score = score_of([(0, 100, 48, 64, 32, False), (2, 100, 76, 64, 0, False), (9, 100, 60, 64, 24, False),
                      (5, 100, 50, 64, 0, True), (10, 100, 90, 64, 0, False)])
    assert [(t, channel, pitch) for t, _, _, channel, pitch in notes_of(score)] == [
        (0, 0, 76), (0, 1, 60), (0, 9, 50), (0, 2, 48), (1, 0, 90)]


def test_equal_pitches_keep_the_order_of_their_exact_start_then_end() -> None:
    score = score_of([(5, 300, 60, 64, 0, False), (3, 400, 60, 64, 24, False), (5, 200, 60, 64, 40, False)])
    assert [channel for *_, channel, _ in notes_of(score)] == [1, 3, 0]


def test_values_are_cut_to_what_ids_can_say() -> None:
    score = score_of([(0, 5, 0, 1, 0, False), (5000, 60_000, 127, 127, 0, False)])
    assert notes_of(score) == [(0, 1, 0, 0, 1), (127, 127, 7, 0, 127)]


def test_velocities_are_rounded_half_to_even_in_fifteens() -> None:
    velocities = {1: 0, 8: 0, 22: 0, 23: 1, 37: 1, 38: 2, 112: 6, 113: 7, 127: 7}
    for velocity, code in velocities.items():
        assert notes_of(score_of([(0, 100, 60, velocity, 0, False)]))[0][2] == code


def test_steps_are_rounded_down() -> None:
    assert notes_of(score_of([(0, 39, 60, 64, 0, False), (19, 40, 62, 64, 0, False)])) == [
        (0, 1, 3, 0, 60), (1, 2, 3, 0, 62)]


def test_notes_on_a_grid_stay_on_it_whatever_milliseconds_lose() -> None:
    # At 96 ticks a quarter an eighth is 250 ms, but 65 eighths come out as 16249.999999999998.
    pairs = [event for i in range(800) for event in (on(i * 48, 60), off(i * 48 + 48, 60))]
    pairs += [on(800 * 48, 60), off(808 * 48, 60)]
    score = read(pairs, ticks_per_quarter=96)
    assert (score.notes["onset_ms"] != [250 * i for i in range(801)]).any()
    rows, _ = quantise(score)
    assert rows[:, 0].tolist() == [25 * i for i in range(801)]
    assert rows[:, 1].tolist() == [12] * 800 + [100]


def test_the_header_holds_the_commonest_values_of_what_is_not_drums() -> None:
    score = score_of([
        (0, 100, 60, 60, 0, False), (100, 100, 64, 60, 0, False), (200, 200, 64, 90, 40, False),
        (300, 40, 36, 120, 0, True), (320, 40, 36, 120, 0, True), (340, 40, 36, 120, 0, True)])
    assert encode(score).ids[:HEADER_LENGTH] == [2816, 2818, 2818 + 3, 10, 128 + 8 * 5 + 3, 2688 + 64]


def test_a_piece_whose_steps_all_differ_has_zero_in_its_header() -> None:
    score = score_of([(0, 100, 60, 60, 0, False), (100, 100, 64, 60, 0, False), (300, 200, 64, 90, 0, False)])
    assert encode(score).ids[:4] == [2816, 2817, 2819, 0]


def test_instruments_without_a_channel_are_dropped_and_counted() -> None:
    score = score_of([(0, 100, 60, 60, 0, False), (100, 100, 61, 60, 48, False), (200, 100, 62, 60, 48, False),
                      (300, 100, 63, 60, 127, False), (500, 100, 64, 60, 0, False)])
    encoded = encode(score)
    assert (encoded.notes, encoded.dropped_notes, encoded.dropped_programs) == (2, 3, (48, 127))
    assert notes_of(score)[1][0] == 50  # since the previous note that was kept
    encoded = encode(score, nearest=True)
    assert (encoded.notes, encoded.dropped_notes, encoded.dropped_programs) == (4, 1, (127,))


def test_drums_alone_are_refused() -> None:
    with pytest.raises(ScoreError, match="besides drums"):
        encode(score_of([(0, 100, 36, 60, 0, True)]))


def test_a_score_of_dropped_or_no_notes_is_refused() -> None:
    for notes in ([], [(0, 100, 60, 60, 127, False)]):
        with pytest.raises(ScoreError, match="has a channel"):
            encode(score_of(notes), nearest=True)

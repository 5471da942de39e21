"""What la-composer's takes are held to where it is asked for: ranges, players, an ending."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection
from collections.abc import Sequence as Listed
from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoints.local_transformer import load_local_transformer
from models.decoding.batcher import Batcher
from models.decoding.local_decoder import LocalDecoder
from models.decoding.sequence import Sequence
from models.engines.la_composer.engine import IMPROVISED, LaComposerDecoder, LaComposerEngine
from models.engines.la_composer.guide import Guide, Playing, people, players_heard
from models.engines.registry import load_engine
from models.errors import InputError
from models.interface.engine import Host
from models.interface.midi import ComposeRequest, Take
from models.music.form.players import RANGES, VOICES
from models.music.form.playing import played
from models.music.score.measures import estimate_key
from models.music.score.programs import CHANNELS, DRUMS
from models.music.vocabulary.grammar import ALLOWED, NEXT, Place, allowed_after, place_after
from models.music.vocabulary.los_angeles import DURATION, PITCH, SIZE, START, TIME, decode, decode_events
from tests.checkpoints.building import upstream_tensors, write_checkpoint

ALL = Playing(ranges=True, players=True, ending=True)
VIOLIN, PIANO, FLUTE = (CHANNELS.index(name) for name in ("violin", "piano", "flute"))
SONG = (START, 2817, 2818 + 3, 10, 300, 2750)  # of three instruments


def note(time: int, channel: int, pitch: int, steps: int = 10) -> tuple[int, int, int]:
    return TIME + time, DURATION + 8 * steps + 4, PITCH + 128 * channel + pitch


def pitches_of(channel: int) -> range:
    return range(PITCH + 128 * channel, PITCH + 128 * (channel + 1))


def drawn(
    prime: Listed[int], playing: Playing, *, seed: int = 1, tokens: int = 120, liking: Collection[int] = (),
    keen: float = 0.9, start: bool = False,
) -> list[int]:
    """A take of a network that has no idea: any id that may come, but mostly (`keen`) one that it has a liking for."""
    chance = random.Random(seed)
    sequence = Sequence(prime=tuple(prime), length=tokens, seed=0, take=1, stop_id=START if start else None)
    guide, ids = Guide(playing, sequence), sequence.ids
    liked = np.isin(np.arange(SIZE), list(liking))
    while len(ids) < sequence.length:
        allowed = allowed_after([*prime[-3:], *ids[-3:]], end=start)
        if playing != Playing():
            guide.restrict(allowed, place_after([*prime[-3:], *ids[-3:]]))
        favourites = np.flatnonzero(allowed & liked).tolist()
        id_ = chance.choice(favourites if favourites and chance.random() < keen else np.flatnonzero(allowed).tolist())
        if id_ == START == sequence.stop_id:
            break
        ids.append(id_)
    assert len(ids) <= tokens
    return ids


def together(ids: Listed[int]) -> Counter[tuple[int, str]]:
    """How many notes begin at each onset, by instrument."""
    return Counter((int(one["onset_ms"]), CHANNELS[one["channel"]]) for one in decode_events(ids))


def most(ids: Listed[int]) -> Counter[str]:
    """The most notes that begin together, by instrument."""
    return Counter({name: max(count for (_, other), count in together(ids).items() if other == name)
                    for _, name in together(ids)})


def out_of_range(ids: Listed[int]) -> int:
    events = decode_events(ids)
    low, high = np.array([RANGES[CHANNELS[channel]] for channel in events["channel"]]).T
    return int(((events["pitch"] < low) | (events["pitch"] > high)).sum())


# With a network

@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("random") / "a.pth", upstream_tensors(positions=400))


def improvised(engine: LaComposerEngine, takes: int, tokens: int = 99) -> list[Take]:
    plan = engine.plan(ComposeRequest("x", tokens=tokens, takes=takes, temperature=1.2))
    for sequence in engine.sequences(plan):
        engine.batcher.add(sequence)
    ended = []
    while engine.batcher.busy:
        ended += [engine.take(plan, sequence) for sequence in engine.batcher.step()]
    return sorted(ended, key=lambda take: take.number)


def test_without_playing_nothing_is_done_to_the_network(model: Path) -> None:
    made: list[list[list[int]]] = []
    for decoder in (LocalDecoder(load_local_transformer(model), 3), LaComposerDecoder(load_local_transformer(model), 3)):
        batcher = Batcher(decoder)
        sequences = [Sequence(prime=SONG, length=40, seed=5, take=take) for take in (1, 2, 3)]
        for sequence in sequences:
            batcher.add(sequence)
        while batcher.busy:
            batcher.step()
        made.append([sequence.ids for sequence in sequences])
    assert made[0] == made[1]
    logits = torch.randn(3, SIZE)
    assert decoder.steer(sequences, logits, 0) is logits
    assert improvised(LaComposerEngine.load(model), 1, 32)[0].score.parts == ()


def test_a_take_of_the_host_s_playing_is_the_same_alone_and_in_a_crowd(model: Path, tmp_path: Path) -> None:
    host = Host(tmp_path, la_composer_playing=("ranges", "players", "ending"))
    engine = load_engine("la-composer", model, host)
    assert isinstance(engine, LaComposerEngine)
    alone, crowd = improvised(engine, 1), improvised(engine, 5)
    assert crowd[0].ids == alone[0].ids
    assert crowd[0].score == alone[0].score
    assert len({take.ids for take in crowd}) == 5
    free = improvised(LaComposerEngine.load(model, grammar=True), 5)
    for take, other in zip(crowd, free, strict=True):
        assert out_of_range(take.ids) == 0 < out_of_range(other.ids)
        assert len(take.score) == len(other.score) == 34
        assert take.score.notes["duration_ms"][-1] >= 1200
        assert take.score.part is not None


def test_a_take_that_goes_does_not_leave_its_guide(model: Path) -> None:
    decoder = LaComposerDecoder(load_local_transformer(model), 1, playing=ALL)
    batcher = Batcher(decoder)
    sequence = Sequence(prime=SONG, length=40, seed=5, take=1)
    batcher.add(sequence)
    batcher.step()
    assert list(decoder._guides) == [sequence]
    batcher.cancel(sequence)
    assert not decoder._guides


def test_unknown_names_are_refused() -> None:
    assert Playing.of(()) == Playing()
    assert Playing.of(("ending", "ranges")) == Playing(ranges=True, ending=True)
    with pytest.raises(InputError, match=r"ranges, players, ending, not strings"):
        Playing.of(("ranges", "strings"))


# All

@pytest.mark.parametrize("playing", [Playing(ranges=True), Playing(players=True), Playing(ending=True), ALL])
def test_whatever_the_prime_breaks_off_with_only_whole_notes_follow(playing: Playing) -> None:
    everybody = [id_ for channel, name in enumerate(CHANNELS) for voice in range(2 * VOICES[name])
                 for id_ in note(0, channel, RANGES[name][0] + voice)]
    odd = [300, 1300, 5, 1300, 5, 5, 300, 400, 1300, 1400, START, 7]
    for prime in ([*SONG, *everybody], odd):
        for end in {*range(1, 13), *range(len(prime) - 8, len(prime) + 1)}:
            place = place_after(prime[:end])
            made = drawn(prime[:end], playing, tokens=32, seed=end)
            for id_ in made:
                assert ALLOWED[place, id_]
                place = NEXT[place, id_]
            assert len(made) >= 30


# Ranges

def test_no_note_is_out_of_range() -> None:
    for seed in range(30):
        ids = drawn(SONG, Playing(ranges=True), seed=seed)
        assert len(decode_events(ids)) == 40
        assert out_of_range(ids) == 0
        assert out_of_range(drawn(SONG, Playing(players=True), seed=seed)) > 5


# Players

def test_nobody_has_more_notes_at_once_than_voices() -> None:
    prime = (*SONG, *note(0, VIOLIN, 60), *note(0, VIOLIN, 70), *note(0, PIANO, 60))  # the violin has both in the prime
    liking = [TIME, *pitches_of(VIOLIN), *pitches_of(PIANO), *pitches_of(DRUMS)]
    free, held = Counter[str](), Counter[str]()
    for seed in range(20):
        free |= most((*prime, *drawn(prime, Playing(ranges=True), seed=seed, liking=liking)))
        held |= most((*prime, *drawn(prime, Playing(players=True), seed=seed, liking=liking)))
    for name, voices in {"violin": 2, "piano": 6, "drums": 4}.items():
        assert held[name] == voices < free[name]


def test_a_note_that_the_prime_begins_is_of_its_last_chord() -> None:
    prime = (*SONG, *note(0, VIOLIN, 60), *note(0, VIOLIN, 70), TIME)
    for broken in (prime, (*prime, DURATION + 80)):
        for seed in range(5):
            ids = (*broken, *drawn(broken, Playing(players=True), seed=seed, tokens=6, liking=pitches_of(VIOLIN), keen=1.0))
            assert most(ids)["violin"] == 2


def test_nobody_strikes_a_note_twice() -> None:
    prime = (*SONG, *note(0, PIANO, 60))
    for seed in range(20):
        ids = (*prime, *drawn(prime, Playing(players=True), seed=seed, liking=[TIME, prime[-1], prime[-1] + 1]))
        events = decode_events(ids)
        assert len(np.unique(events[["onset_ms", "channel", "pitch"]])) == len(events)


def test_an_instrument_that_the_prime_has_alone_stays_so() -> None:
    prime = (*SONG, *note(0, VIOLIN, 60), *note(9, VIOLIN, 62), *note(9, PIANO, 60))
    assert people(prime) == {name: 2 if name in {"cello", "trumpet", "clarinet", "flute"} else 1 for name in CHANNELS}
    for seed in range(20):
        ids = (*prime, *drawn(prime, Playing(players=True), seed=seed, liking=[TIME, *pitches_of(VIOLIN), *pitches_of(FLUTE)]))
        assert most(ids)["violin"] == 1
        assert most(ids)["flute"] == 2


def test_when_all_are_taken_time_passes_unless_somebody_is_still_to_come() -> None:
    """A pianist who would strike a seventh key does not call for another instrument."""
    liking, voices = [TIME, *pitches_of(PIANO)], VOICES["piano"]
    for promised in (1, 2):
        prime = (START, 2817, 2818 + promised, *note(0, PIANO, 60))
        for seed in range(10):
            events = decode_events((*prime, *drawn(prime, Playing(players=True), seed=seed, liking=liking, keen=1.0)))
            assert (events["channel"][:voices] == PIANO).all()
            assert (events["channel"][voices] == PIANO) == (promised == 1)
            assert (events["onset_ms"][voices] > 0) == (promised == 1)


def test_who_has_come_is_no_longer_to_come() -> None:
    prime = (START, 2817, 2818 + 2, *note(0, VIOLIN, 60), *note(0, VIOLIN, 70))
    sequence = Sequence(prime=prime, length=60, seed=0, take=1)
    guide = Guide(Playing(players=True), sequence)
    for made, free in (((), True), (note(0, CHANNELS.index("bass"), 40), False), (note(9, VIOLIN, 60), True)):
        sequence.ids += made
        allowed = allowed_after(sequence.ids or prime)
        guide.restrict(allowed, Place.NOTE)
        assert allowed[TIME] == free


def test_a_chord_of_an_instrument_of_several_voices_has_one_player() -> None:
    ids = (*note(0, PIANO, 60), *note(0, PIANO, 64), *note(0, VIOLIN, 60), *note(0, VIOLIN, 64), *note(0, FLUTE, 64))
    assert {one.instrument: (one.players, one.voices) for one in players_heard(ids[:3], ids)} == {
        "piano": (1, 6), "violin": (2, 1), "flute": (1, 1)}


def test_no_more_sound_at_once_than_there_are_players() -> None:
    sections, liking = 0, [TIME, *pitches_of(PIANO), *pitches_of(VIOLIN)]
    for seed in range(10):
        ids = (*IMPROVISED, *drawn(IMPROVISED, Playing(players=True), seed=seed, tokens=300, liking=liking, keen=0.4))
        whole = decode(ids)
        score = played(whole, players_heard(IMPROVISED, ids))
        notes, counts = score.notes, most(ids)
        assert score.part is not None
        assert (notes["duration_ms"] <= whole.notes["duration_ms"]).all()
        assert (notes["duration_ms"] < whole.notes["duration_ms"]).any()
        assert {name.split()[0].lower() for name in score.parts} == set(counts)
        for part, name in enumerate(score.parts):
            instrument, own = name.split()[0].lower(), notes[score.part == part]
            end_ms = own["onset_ms"] + np.maximum(own["duration_ms"] - 20, 1)  # a note that is cut keeps as much
            sounding = [((own["onset_ms"] <= at) & (at < end_ms)).sum() for at in own["onset_ms"]]
            assert max(sounding, default=0) <= VOICES[instrument]
            section = VOICES[instrument] == 1 and counts[instrument] == 2
            assert name[-1].isdigit() == section
            sections += section
    assert sections


# Ending

@pytest.mark.parametrize("playing", [Playing(ending=True), ALL])
@pytest.mark.parametrize("tokens", [32, 33, 64, 300])
def test_a_take_ends_with_a_long_chord_of_the_tonic(playing: Playing, tokens: int) -> None:
    """Whether all play or hardly anybody but a piano."""
    for seed in range(30):
        made = drawn(IMPROVISED, playing, seed=seed, tokens=tokens, liking=pitches_of(PIANO) if seed % 2 else ())
        assert len(made) == tokens // 3 * 3
        events = decode_events((*IMPROVISED, *made))
        end = events["onset_ms"] == events["onset_ms"].max()
        chord, before = events[end], events[~end]
        lately = set([channel for channel in before["channel"].tolist() if channel != DRUMS][-64:])
        wanted = max(min(len(lately), 6), 3)
        assert wanted - 1 <= len(chord) <= wanted  # one less where the last note before it brings somebody new
        assert len(chord) >= 3
        assert set(chord["channel"].tolist()) <= lately
        assert len(set(chord["channel"].tolist())) == min(len(chord), len(lately))
        assert len(set(chord["duration_ms"].tolist())) == 1
        assert chord["duration_ms"][0] >= 1200
        assert 10 <= chord["onset_ms"][0] - before["onset_ms"].max() <= 1260
        key = estimate_key(decode((*IMPROVISED, *made[:-3 * len(chord)])))
        assert key is not None
        assert chord["pitch"][0] == chord["pitch"].min()
        assert chord["pitch"][0] % 12 == key.tonic
        assert {(pitch - key.tonic) % 12 for pitch in chord["pitch"].tolist()} == {0, 3 if key.mode == "minor" else 4, 7}
        assert out_of_range(made[-3 * len(chord):]) == 0


def test_the_last_chord_comes_on_the_beat_of_what_is_carried_on() -> None:
    beats = [id_ for number in range(80) for id_ in note(50 if number else 0, PIANO, 60 + number % 5, steps=24)]
    assert drawn((*SONG, *beats), Playing(ending=True), tokens=9)[::3] == [TIME + 50, TIME, TIME]


def test_a_line_ends_on_the_tonic_alone() -> None:
    prime = (*SONG[:2], 2819, *SONG[3:], *(id_ for pitch in (72, 76, 79, 77, 74, 71, 72) for id_ in note(25, FLUTE, pitch)))
    liking = {PITCH + 128 * FLUTE + pitch for pitch in (72, 74, 76, 79)}
    lines = 0
    for seed in range(20):
        ids = (*prime, *drawn(prime, ALL, seed=seed, tokens=36, liking=liking))
        if set(decode_events(ids)["channel"].tolist()) == {FLUTE}:
            lines += 1
            events, key = decode_events(ids), estimate_key(decode(ids[:-3]))
            assert key is not None
            assert events["pitch"][-1] % 12 == key.tonic
            assert events["duration_ms"][-1] >= 1200
            assert events["onset_ms"][-1] > events["onset_ms"][-2]
    assert lines


def test_drums_alone_end_as_they_are() -> None:
    prime = (*SONG, *note(0, DRUMS, 40), *note(10, DRUMS, 40))
    takes = [drawn(prime, ALL, seed=seed, tokens=31, liking=pitches_of(DRUMS)) for seed in range(20)]
    alone = [ids for ids in takes if set(decode_events(ids)["channel"].tolist()) == {DRUMS}]
    assert alone
    assert all(len(ids) == 31 for ids in alone)


def test_where_the_network_begins_another_piece_a_take_ends_as_ever() -> None:
    prime = (*SONG, *note(0, PIANO, 60))
    ends = set()
    for seed in range(40):
        free, held = (drawn(prime, playing, seed=seed, tokens=60, liking=[START], start=True)
                      for playing in (Playing(), Playing(ending=True)))
        assert START not in held
        if len(free) < 36:
            assert held == free
            ends.add(len(free))
    assert len(ends) > 1

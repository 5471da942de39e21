"""How takes sound: players have places, there is a hall, and all are as loud as each other. Measured on real sound."""

from __future__ import annotations

import shutil
from pathlib import Path

import mido
import numpy as np
import pyloudnorm
import pytest
import soundfile

from models.music.score.seats import CENTRE, PLACES
from models.sound.audio.loudness import PEAK_DBFS, TARGET_LUFS, Meter, loudness
from models.sound.rendering import sound as rendering
from models.sound.rendering import soundfont as fonts
from models.sound.rendering.sound import render_sound
from models.sound.rendering.soundfont import INSTALLED_FONTS, default_soundfont, has_good_soundfont

VIOLIN, CELLO, PIANO, HARP, ORGAN = 40, 42, 0, 46, 19


def small_font() -> Path:
    import pretty_midi
    return Path(pretty_midi.__file__).with_name("TimGM6mb.sf2")


FONTS = [pytest.param(small_font(), id="small"), pytest.param(
    next((path for path in INSTALLED_FONTS if path.is_file()), None), id="good",
    marks=pytest.mark.skipif(not has_good_soundfont(), reason="the package fluid-soundfont-gm is not installed"))]


def piece(target: Path, players: list[tuple[int, int]], *controls: tuple[int, int, int], velocity: int = 90) -> Path:
    """One player after the other, a second each: channel and program. `controls`: channel, controller, value."""
    track = mido.MidiTrack(mido.Message("control_change", channel=channel, control=control, value=value)
                           for channel, control, value in controls)
    track += [mido.Message("program_change", channel=channel, program=program) for channel, program in players]
    for channel, _ in players:
        track.append(mido.Message("note_on", channel=channel, note=60, velocity=velocity))
        track.append(mido.Message("note_off", channel=channel, note=60, time=960))
    midi = mido.MidiFile(ticks_per_beat=480)
    midi.tracks.append(track)
    midi.save(target)
    return target


def sides(midi: Path, font: Path) -> list[float]:
    """Of each second of the piece, how much louder the right side is than the left, in dB."""
    samples, rate = soundfile.read(render_sound(midi, midi.with_suffix(".wav"), soundfont=font).path)
    seconds = [samples[start:start + rate // 2] for start in range(rate // 10, len(samples) - rate, rate)]
    return [float(10 * np.log10(np.square(one[:, 1]).sum() / np.square(one[:, 0]).sum())) for one in seconds]


@pytest.mark.parametrize("font", FONTS)
def test_players_sit_as_an_orchestra_does(tmp_path: Path, font: Path) -> None:
    violin, cello, harp = sides(piece(tmp_path / "a.mid", [(0, VIOLIN), (1, CELLO), (2, HARP)]), font)[:3]
    assert harp < violin - 1 < violin < cello - 2  # a SoundFont may have its own opinion of the middle
    assert violin < 0 < cello


@pytest.mark.parametrize("font", FONTS)
def test_a_place_that_the_file_gives_is_kept(tmp_path: Path, font: Path) -> None:
    violin, cello = sides(piece(tmp_path / "a.mid", [(0, VIOLIN), (1, CELLO)], (0, 10, 120), (1, 10, 8)), font)[:2]
    assert violin > 3
    assert cello < -3


@pytest.mark.parametrize("font", FONTS)
def test_players_of_one_instrument_sit_beside_each_other(tmp_path: Path, font: Path) -> None:
    first, second, third = sides(piece(tmp_path / "a.mid", [(0, VIOLIN), (1, VIOLIN), (2, VIOLIN)]), font)[:3]
    assert first < second - 0.5
    assert second < third - 0.5


@pytest.mark.parametrize("font", FONTS)
def test_who_plays_alone_is_in_the_middle(tmp_path: Path, font: Path) -> None:
    assert abs(sides(piece(tmp_path / "a.mid", [(0, CELLO), (0, CELLO)]), font)[0]) < 2.5


def test_every_instrument_has_a_place_that_is_not_at_the_wall() -> None:
    assert len(PLACES) == 128
    assert all(20 <= place <= 100 for place in PLACES)
    assert sum(PLACES) / 128 == pytest.approx(CENTRE, abs=5)


@pytest.mark.parametrize("font", FONTS)
def test_there_is_a_hall(tmp_path: Path, font: Path) -> None:
    """A note that ends is heard for longer than where the file asks for a dry room."""

    def tail_s(*controls: tuple[int, int, int]) -> float:
        midi = piece(tmp_path / "a.mid", [(0, VIOLIN)], *controls)
        samples, rate = soundfile.read(render_sound(midi, tmp_path / "a.wav", soundfont=font).path)
        heard = np.abs(samples).max(axis=1)
        return float(np.flatnonzero(heard > heard.max() / 100)[-1] / rate - 1.0)

    dry, hall = tail_s((0, 91, 0)), tail_s()
    assert dry + 0.1 < hall < 2.0


@pytest.mark.parametrize("velocity", [20, 60, 127])
@pytest.mark.parametrize("program", [PIANO, ORGAN, CELLO])
def test_takes_are_equally_loud_and_never_clipped(tmp_path: Path, program: int, velocity: int) -> None:
    midi = piece(tmp_path / "a.mid", [(0, program)] * 3, velocity=velocity)
    samples, rate = soundfile.read(render_sound(midi, tmp_path / "a.wav").path)
    assert float(np.abs(samples).max()) <= 10 ** (PEAK_DBFS / 20) + 1e-4
    assert TARGET_LUFS - 5 < loudness(samples, rate) < TARGET_LUFS + 0.5  # a piano's attacks keep it softer


def test_a_long_piece_is_leveled_in_blocks_without_seams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    midi = piece(tmp_path / "a.mid", [(0, PIANO), (1, ORGAN), (2, CELLO)] * 2, velocity=127)
    whole, _ = soundfile.read(render_sound(midi, tmp_path / "a.wav").path)
    monkeypatch.setattr(rendering, "BLOCK", 10 * 1024)
    parts, _ = soundfile.read(render_sound(midi, tmp_path / "b.wav").path)
    assert np.abs(whole - parts).max() < 1e-4


@pytest.mark.parametrize("rate_hz", [32_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_meter_agrees_with_pyloudnorm(rate_hz: int, channels: int) -> None:
    rng = np.random.default_rng(rate_hz + channels)
    swell = np.linspace(0, 1, 3 * rate_hz)[:, None] ** 3
    samples = (rng.standard_normal((3 * rate_hz, channels)) * 0.2 * swell).astype(np.float32)
    meter = Meter(rate_hz, channels)
    for start in range(0, len(samples), 9_999):
        meter.add(samples[start:start + 9_999])
    assert meter.lufs == pytest.approx(pyloudnorm.Meter(rate_hz).integrated_loudness(samples), abs=0.05)


def test_the_good_soundfont_is_used_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = tmp_path / "FluidR3_GM.sf2"
    monkeypatch.setattr(fonts, "INSTALLED_FONTS", (good,))
    assert default_soundfont() == small_font()
    assert not has_good_soundfont()
    shutil.copy(small_font(), good)
    assert default_soundfont() == good
    assert has_good_soundfont()

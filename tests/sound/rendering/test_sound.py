"""MIDI to sound, by the real FluidSynth."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

from models.errors import InputError, RenderingError
from models.sound.audio.loudness import PEAK_DBFS, TARGET_LUFS, loudness
from models.sound.rendering.sound import (
    TAIL_SECONDS,
    SoundFormat,
    UnplayableError,
    render_sound,
)
from models.sound.rendering.soundfont import check_soundfont, default_soundfont

TICKS_A_SECOND = 960  # 480 a quarter, at the standard 120 bpm


def _write(target: Path, *messages: mido.Message | mido.MetaMessage) -> Path:
    piece = mido.MidiFile(ticks_per_beat=480)
    piece.tracks.append(mido.MidiTrack(messages))
    piece.save(target)
    return target


def _melody(target: Path, notes: int = 4, *, velocity: int = 90, program: int = 0, seconds: float = 0.5) -> Path:
    messages = [mido.Message("program_change", program=program)]
    for number in range(notes):
        pitch = 60 + number * 7 % 12
        messages.append(mido.Message("note_on", note=pitch, velocity=velocity))
        messages.append(mido.Message("note_off", note=pitch, time=round(seconds * TICKS_A_SECOND)))
    return _write(target, *messages)


def _level(samples: np.ndarray) -> float:
    return float(20 * np.log10(np.abs(samples).max() + 1e-12))


@contextmanager
def _only_midi_left(folder: Path) -> Iterator[None]:
    before = sorted(folder.iterdir())
    yield
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("format", ["ogg", "mp3", "wav"])
def test_sound_is_loud_whole_and_not_clipped(tmp_path: Path, format: SoundFormat) -> None:
    midi = _melody(tmp_path / "piece.mid")
    sound = render_sound(midi, tmp_path / f"piece.{format}")
    samples, rate = soundfile.read(sound.path)
    assert soundfile.info(sound.path).format == format.upper()
    assert (rate, samples.shape[1]) == (44_100, 2)
    assert len(samples) / rate == pytest.approx(sound.seconds, abs=0.06)
    assert 2.0 - 0.6 < sound.seconds < 2.0 + TAIL_SECONDS + 0.01
    assert sound.peak_dbfs <= PEAK_DBFS + 0.01
    assert loudness(samples, rate) == pytest.approx(TARGET_LUFS, abs=1.5)  # the limiter takes a little
    assert np.abs(samples).max() < 1
    assert -30 < sound.rms_dbfs < -6
    assert np.abs(samples[:, 0] - samples[:, 1]).max() > 1e-3  # stereo
    assert sorted(path.name for path in tmp_path.iterdir()) == ["piece.mid", f"piece.{format}"]


def test_the_format_asked_for_wins_over_the_suffix(tmp_path: Path) -> None:
    sound = render_sound(_melody(tmp_path / "piece.mid", 1), tmp_path / "piece.ogg", format="wav")
    assert soundfile.info(sound.path).format == "WAV"


def test_the_same_midi_gives_the_same_samples(tmp_path: Path) -> None:
    midi = _melody(tmp_path / "piece.mid", 2)
    first, second = (render_sound(midi, tmp_path / f"{name}.wav").path.read_bytes() for name in "ab")
    assert first == second


def test_loud_chords_are_not_clipped_on_the_way(tmp_path: Path) -> None:
    chord = [mido.Message("program_change", program=19)]
    chord += [mido.Message("note_on", note=pitch, velocity=127) for pitch in range(30, 80)]
    chord += [mido.Message("note_off", note=pitch, time=960 if pitch == 30 else 0) for pitch in range(30, 80)]
    sound = render_sound(_write(tmp_path / "chord.mid", *chord), tmp_path / "chord.wav")
    samples, _ = soundfile.read(sound.path)
    assert np.mean(np.abs(samples) > 0.99 * np.abs(samples).max()) < 1e-3  # a clipped wave has flat tops


def test_a_long_ogg_is_written_in_blocks(tmp_path: Path) -> None:
    midi = _melody(tmp_path / "long.mid", 46, seconds=2.0, program=19)
    sound = render_sound(midi, tmp_path / "long.ogg")
    assert sound.seconds == pytest.approx(92, abs=0.6 + TAIL_SECONDS)
    with soundfile.SoundFile(sound.path) as decoded:
        assert decoded.frames == pytest.approx(sound.seconds * 44_100, abs=1)


def test_trailing_silence_is_cut_and_the_end_fades(tmp_path: Path) -> None:
    midi = _write(
        tmp_path / "piece.mid",
        mido.Message("note_on", note=60, velocity=90),
        mido.Message("note_off", note=60, time=TICKS_A_SECOND),
        mido.Message("control_change", control=1, time=60 * TICKS_A_SECOND),  # a minute of nothing
    )
    sound = render_sound(midi, tmp_path / "piece.wav")
    samples, rate = soundfile.read(sound.path)
    assert 0.9 < sound.seconds < 1 + TAIL_SECONDS
    assert _level(samples[-rate // 50:]) < -55
    assert _level(samples[-rate:]) > -55  # but not cut before it died away


def test_a_note_without_an_end_does_not_ring_for_ever(tmp_path: Path) -> None:
    midi = _write(
        tmp_path / "stuck.mid",
        mido.Message("program_change", program=19),
        mido.Message("note_on", note=60, velocity=90),
        mido.MetaMessage("end_of_track", time=2 * TICKS_A_SECOND),
    )
    sound = render_sound(midi, tmp_path / "stuck.wav")
    samples, rate = soundfile.read(sound.path)
    assert sound.seconds <= 2 + TAIL_SECONDS + 0.01
    assert _level(samples[-rate // 100:]) < -30


def test_changes_of_tempo_are_played(tmp_path: Path) -> None:
    midi = _write(
        tmp_path / "piece.mid",
        mido.Message("program_change", program=19),
        mido.MetaMessage("set_tempo", tempo=250_000),
        mido.Message("note_on", note=60, velocity=90),
        mido.MetaMessage("set_tempo", tempo=2_000_000, time=480),
        mido.Message("note_off", note=60, time=480),
    )
    assert 2.25 - 0.3 < render_sound(midi, tmp_path / "piece.wav").seconds < 2.25 + 2.2  # and the hall


def test_the_tail_may_not_be_lost_to_the_end_of_the_file(tmp_path: Path) -> None:
    bells = render_sound(_melody(tmp_path / "bells.mid", 1, program=14, seconds=0.3), tmp_path / "bells.wav")
    assert bells.seconds > 1.0  # tubular bells ring on after the note


def test_nothing_is_said_on_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    midi = _write(
        tmp_path / "piece.mid",
        mido.Message("control_change", control=0, value=99),
        mido.Message("program_change", program=5),  # of a bank that there is not, which FluidSynth remarks on
        mido.Message("note_on", note=60, velocity=90),
        mido.Message("note_off", note=60, time=480),
    )
    render_sound(midi, tmp_path / "piece.wav")
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


def test_without_fluidsynth_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    midi = _melody(tmp_path / "piece.mid")
    monkeypatch.setenv("PATH", "")
    with _only_midi_left(tmp_path), pytest.raises(RenderingError, match="apt install fluidsynth"):
        render_sound(midi, tmp_path / "piece.ogg")


def test_soundfonts_that_are_none_are_refused(tmp_path: Path) -> None:
    midi = _melody(tmp_path / "piece.mid")
    fake, short, hollow = tmp_path / "fake.sf2", tmp_path / "short.sf2", tmp_path / "hollow.sf2"
    fake.write_bytes(b"not a SoundFont at all")
    short.write_bytes(default_soundfont().read_bytes()[:100_000])
    hollow.write_bytes(b"RIFF\x04\x00\x00\x00sfbk")
    for font, reason in (
        (tmp_path / "missing.sf2", "no SoundFont at"), (tmp_path, "no SoundFont at"), (fake, "not a SoundFont"),
        (short, "cut short"), (hollow, "cannot load"),
    ):
        with _only_midi_left(tmp_path), pytest.raises(RenderingError, match=reason) as caught:
            render_sound(midi, tmp_path / "piece.ogg", soundfont=font)
        assert "\n" not in str(caught.value)


def test_a_soundfont_of_ones_own_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    midi = _melody(tmp_path / "piece.mid", 1)
    own = tmp_path / "own.sf2"
    own.write_bytes(default_soundfont().read_bytes())
    monkeypatch.chdir(tmp_path)
    assert check_soundfont(Path("own.sf2")) == own
    assert render_sound(midi, tmp_path / "piece.wav", soundfont=Path("own.sf2")).seconds > 0.3


@pytest.mark.parametrize("content", [b"", b"garbage", b"MThd\x00\x00\x00\x06\x00\x01\x00\x01\x01\xe0MTrk\x00\x00"])
def test_broken_midi_is_the_fault_of_the_input(tmp_path: Path, content: bytes) -> None:
    midi = tmp_path / "broken.mid"
    midi.write_bytes(content)
    with _only_midi_left(tmp_path), pytest.raises(UnplayableError, match=r"broken\.mid cannot be played"):
        render_sound(midi, tmp_path / "piece.ogg")
    assert issubclass(UnplayableError, InputError)
    assert issubclass(UnplayableError, RenderingError)


def test_silent_midi_is_refused(tmp_path: Path) -> None:
    no_notes = _melody(tmp_path / "velocity.mid", velocity=0)
    muted = _write(
        tmp_path / "volume.mid",
        mido.Message("control_change", control=7, value=0),
        mido.Message("note_on", note=60, velocity=90),
        mido.Message("note_off", note=60, time=480),
    )
    for midi, reason in ((no_notes, "no notes"), (muted, "silent"), (tmp_path / "missing.mid", "cannot be played")):
        with _only_midi_left(tmp_path), pytest.raises(UnplayableError, match=reason):
            render_sound(midi, tmp_path / "piece.ogg")


def test_what_was_there_stays_when_rendering_fails(tmp_path: Path) -> None:
    target = tmp_path / "piece.ogg"
    target.write_bytes(b"an earlier take")
    (tmp_path / "broken.mid").write_bytes(b"garbage")
    with pytest.raises(RenderingError):
        render_sound(tmp_path / "broken.mid", target)
    assert target.read_bytes() == b"an earlier take"


def test_a_target_that_cannot_be_written(tmp_path: Path) -> None:
    midi = _melody(tmp_path / "piece.mid", 1)
    with _only_midi_left(tmp_path), pytest.raises(RenderingError, match="cannot be written"):
        render_sound(midi, tmp_path / "nowhere" / "piece.ogg")
    (tmp_path / "folder.ogg").mkdir()
    with _only_midi_left(tmp_path), pytest.raises(RenderingError, match="cannot be written"):
        render_sound(midi, tmp_path / "folder.ogg")


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    midi = _melody(tmp_path / "piece.mid", 1)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # no file may grow larger: not FluidSynth's either
    try:
        with _only_midi_left(tmp_path), pytest.raises(RenderingError, match="fluidsynth"):
            render_sound(midi, tmp_path / "piece.ogg")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(scratch.iterdir())


def test_too_little_space_is_noticed_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    midi = _melody(tmp_path / "piece.mid", 1)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000})())
    with _only_midi_left(tmp_path), pytest.raises(RenderingError, match="TMPDIR"):
        render_sound(midi, tmp_path / "piece.ogg")


def test_a_fluidsynth_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "fluidsynth"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setattr("models.sound.rendering.sound.PATIENCE_SECONDS", -0.3)
    midi = _melody(tmp_path / "piece.mid", 1)
    with _only_midi_left(tmp_path), pytest.raises(RenderingError, match="was stopped"):
        render_sound(midi, tmp_path / "piece.ogg")


def test_formats_nobody_knows(tmp_path: Path) -> None:
    midi = _melody(tmp_path / "piece.mid", 1)
    for name in ("piece.flac", "piece"):
        with _only_midi_left(tmp_path), pytest.raises(InputError, match="ogg, mp3 or wav"):
            render_sound(midi, tmp_path / name)

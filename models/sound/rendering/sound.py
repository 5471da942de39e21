"""MIDI to sound: FluidSynth plays it with a General MIDI SoundFont, soundfile encodes it.

midi2audio ignores FluidSynth's exit code and FluidSynth itself carries on without a SoundFont,
so the SoundFont and the MIDI file are checked before, and the sound itself after.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import soundfile
from midi2audio import FluidSynth

from models.errors import RenderingError, ScoreError
from models.music.score.midi import score_of, tracks_of
from models.music.score.playable import playable
from models.scratch import Scratch
from models.sound.audio.loudness import CEILING, MOST_LIMITED_DB, TARGET_LUFS, Meter, limiter_reach, turned_down
from models.sound.audio.writing import BLOCK, Sound, encode, sound_format
from models.sound.audio.writing import SoundFormat as SoundFormat  # part of what `render_sound` takes
from models.sound.rendering.soundfont import check_soundfont, default_soundfont
from models.whole_file import whole_file

SAMPLE_RATE_HZ = 44_100
SILENCE_DB = -60.0  # below the peak: where a tail counts as silence
TAIL_SECONDS = 3.0  # most that is kept after the last note ends
FADE_SECONDS = 0.3
PATIENCE_SECONDS = 60.0  # FluidSynth may take this and the length of the piece

_FAINTEST_PEAK = 1e-4  # -80 dBFS; what FluidSynth renders of audible notes is far above
_STEP = 1_024  # frames; how finely the end of the sound is looked for (23 ms)
_HALL = {"room-size": 0.55, "damp": 0.25, "width": 0.9, "level": 0.6}  # a small one: its 60 dB take 1.4 s
_FULL_BYTES = 1_000_000
_FONT_COMPLAINTS = ("Failed to load SoundFont", "not a SoundFont")


class UnplayableError(RenderingError, ScoreError):
    """A MIDI file that is broken, or silent from start to end: the input is at fault, not the machine."""


def render_sound(
    midi: Path, target: Path, *, format: SoundFormat | None = None, soundfont: Path | None = None
) -> Sound:
    """Render a MIDI file to stereo sound at 44.1 kHz, its peak at -1 dBFS, trailing silence cut.

    `format` is taken from the suffix of `target` where it is not given; `soundfont` is a SoundFont 2
    or 3 file, by default the one that pretty_midi carries. The length is that of the notes plus at
    most 3 s in which they die away. Memory does not grow with it; the temporary folder holds 0.35 MB
    a second meanwhile. An existing target is replaced, and only by a finished file.

    Raises InputError for an unknown format, UnplayableError for a MIDI file that is broken or silent,
    RenderingError where FluidSynth, the SoundFont, disk space or the permission to write is missing.
    """
    encoding = sound_format(target, format)
    font = check_soundfont(soundfont) if soundfont is not None else default_soundfont()
    program = fluidsynth_program()
    seconds, played = _read(midi)
    with whole_file(target) as draft, _temporary_folder(seconds) as folder:
        player_file, rendered = folder / "piece.mid", folder / "piece.wav"
        try:
            player_file.write_bytes(played)
        except OSError as error:
            raise RenderingError(f"the temporary folder cannot be written to: {error.strerror or error}") from error
        _Synth(program, font, timeout_s=PATIENCE_SECONDS + seconds).midi_to_audio(str(player_file), str(rendered))
        try:
            return _encode(rendered, draft, target, encoding, seconds)
        except soundfile.SoundFileError as error:
            raise RenderingError(f"the sound could not be encoded ({error}){_if_full(folder, draft.parent)}") from error


def fluidsynth_program() -> str:
    """Where the fluidsynth program is. RenderingError when it is not installed."""
    program = shutil.which("fluidsynth")
    if program is None:
        raise RenderingError("the program fluidsynth is not installed; install it: apt install fluidsynth")
    return program


def _read(midi: Path) -> tuple[float, bytes]:
    """Seconds of music in a file, and the file that FluidSynth is given in its place."""
    try:
        tracks = tracks_of(midi)
        score = score_of(tracks)
        return score.seconds, playable(tracks, score, tail_seconds=TAIL_SECONDS)
    except ScoreError as error:
        raise UnplayableError(f"{midi.name} cannot be played: {error}") from error


@contextmanager
def _temporary_folder(seconds: float) -> Iterator[Path]:
    """A folder with space for the unencoded sound of a piece; gone afterwards."""
    needed = int((seconds + TAIL_SECONDS) * SAMPLE_RATE_HZ * 2 * 4) + 1_000_000
    try:
        folder = Scratch.make()
        free = shutil.disk_usage(folder.path).free
    except OSError as error:
        raise RenderingError(f"no temporary folder can be made: {error.strerror or error}") from error
    with folder as path:
        if free < needed:
            raise RenderingError(
                f"the temporary folder {tempfile.gettempdir()} has {free / 1e6:.0f} MB left, {needed / 1e6:.0f} MB are "
                "needed; free some space or let TMPDIR name another folder"
            )
        yield path


class _Synth(FluidSynth):  # type: ignore[misc]
    """midi2audio's synthesizer, with its one command replaced.

    The original puts options behind the file names, where not every build of FluidSynth reads them,
    lets FluidSynth talk on the terminal, waits for ever, ignores its exit code, and offers no way to
    ask for floating point samples, without which loud pieces would be clipped before they are normalised.
    """

    def __init__(self, program: str, font: Path, *, timeout_s: float) -> None:
        super().__init__(str(font), SAMPLE_RATE_HZ)
        self._program = program
        self._timeout_s = timeout_s

    def midi_to_audio(self, midi_file: str, audio_file: str) -> None:
        """Render to a WAV file of 32-bit floats. Raises RenderingError when FluidSynth fails."""
        options = [
            "-n", "-i", "-q",  # no MIDI input, no shell, no banner
            "-f", os.devnull,  # not the settings in somebody's home
            "-o", "synth.default-soundfont=",  # no other SoundFont when this one does not load
            "-o", "synth.cpu-cores=1",
            "-o", "synth.dynamic-sample-loading=1",  # of a large SoundFont only what is played: a third of the memory
            *(part for name, value in _HALL.items() for part in ("-o", f"synth.reverb.{name}={value}")),
            "-T", "rf64", "-O", "float",  # RF64: a WAV that may grow past 4 GB
            "-r", str(self.sample_rate), "-F", audio_file,
        ]
        try:
            finished = subprocess.run(
                [self._program, *options, self.sound_font, midi_file],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=self._timeout_s,
            )
        except subprocess.TimeoutExpired:
            raise RenderingError(
                f"fluidsynth took more than {self._timeout_s:.0f} s and was stopped; "
                "try again when the machine is less busy"
            ) from None
        except OSError as error:
            raise RenderingError(f"fluidsynth cannot be started: {error.strerror or error}") from error
        said = finished.stderr.decode(errors="replace").strip()
        if any(complaint in said for complaint in _FONT_COMPLAINTS):
            raise RenderingError(f"FluidSynth cannot load the SoundFont {self.sound_font}; name another one")
        if finished.returncode != 0 or not os.path.exists(audio_file):
            reason = said.splitlines()[-1] if said else f"exit code {finished.returncode}"
            raise RenderingError(f"fluidsynth failed ({_without_paths(reason)}){_if_full(Path(audio_file).parent)}")


def _encode(rendered: Path, draft: Path, target: Path, encoding: SoundFormat, score_seconds: float) -> Sound:
    with soundfile.SoundFile(rendered) as source:
        if source.frames < (score_seconds * 0.98 - 0.5) * source.samplerate:
            raise RenderingError(
                f"fluidsynth stopped after {source.frames / source.samplerate:.0f} of {score_seconds:.0f} s"
                f"{_if_full(rendered.parent)}")
        peaks, lufs = _measured(source)
        peak = float(peaks.max(initial=0.0))
        if not math.isfinite(peak):
            raise RenderingError("fluidsynth rendered values that are not numbers; name another SoundFont")
        if peak < _FAINTEST_PEAK:
            raise UnplayableError("the piece is silent: nothing in it can be heard; check its volumes and instruments")
        audible = (int(np.flatnonzero(peaks > peak * 10 ** (SILENCE_DB / 20))[-1]) + 1) * _STEP
        fade = int(FADE_SECONDS * source.samplerate)
        frames = min(audible + fade, source.frames, int((score_seconds + TAIL_SECONDS) * source.samplerate))
        most_db = 20 * math.log10(CEILING / peak) + MOST_LIMITED_DB
        gain = 10 ** (min(TARGET_LUFS - lufs, most_db) / 20)
        return encode(_faded(_leveled(source, frames, gain), frames, fade), draft, target,
                      format=encoding, rate_hz=source.samplerate, channels=source.channels)


def _leveled(source: soundfile.SoundFile, frames: int, gain: float) -> Iterator[np.ndarray]:
    """The first `frames` of a file in blocks, amplified, peaks turned down: (frames, channels)."""
    reach = limiter_reach(source.samplerate)
    for start in range(0, frames, BLOCK):
        end = min(start + BLOCK, frames)
        first = max(start - reach, 0)
        source.seek(first)
        samples = source.read(end + reach - first, dtype="float32", always_2d=True)
        leveled = turned_down(samples, np.abs(samples).max(axis=1), gain, source.samplerate)
        yield np.clip(leveled[start - first:end - first], -CEILING, CEILING)  # rounding


def _faded(blocks: Iterator[np.ndarray], frames: int, fade: int) -> Iterator[np.ndarray]:
    """Blocks of `frames` in all, the last `fade` of them dying away."""
    start = 0
    for block in blocks:
        left = frames - np.arange(start, start + len(block))  # frames to the end, this one included
        yield block * np.clip(left / fade, 0, 1)[:, None].astype(np.float32)
        start += len(block)


def _measured(source: soundfile.SoundFile) -> tuple[np.ndarray, float]:
    """The largest absolute sample of every step, over both channels, (steps,), and the loudness of all in LUFS."""
    meter = Meter(source.samplerate, source.channels)
    peaks = [np.zeros(0, dtype=np.float32)]
    for block in source.blocks(BLOCK, dtype="float32", always_2d=True):  # (frames, channels)
        meter.add(block)
        peaks.append(np.maximum.reduceat(np.abs(block).max(axis=1), np.arange(0, len(block), _STEP)))
    return np.concatenate(peaks), meter.lufs


def _if_full(*folders: Path) -> str:
    """What to do, if one of these has no space left; nothing is said of the disk otherwise."""
    for folder in folders:
        with suppress(OSError):
            if shutil.disk_usage(folder).free < _FULL_BYTES:
                return "; the disk is full: free some space"
    return ""


def _without_paths(said: str) -> str:
    """A line of a program, without the folders of files of ours."""
    return re.sub(r"/\S*/", "", said)

"""MIDI to sound: FluidSynth plays it with a General MIDI SoundFont, soundfile encodes it.

midi2audio ignores FluidSynth's exit code and FluidSynth itself carries on without a SoundFont,
so the SoundFont and the MIDI file are checked before, and the sound itself after.
"""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mido
import numpy as np
import soundfile
from midi2audio import FluidSynth

from models.errors import RenderingError, ScoreError
from models.music.score.midi import read_midi
from models.music.score.notes import Score
from models.scratch import Scratch
from models.sound.audio.writing import BLOCK, Sound, encode, sound_format
from models.sound.audio.writing import SoundFormat as SoundFormat  # part of what `render_sound` takes
from models.whole_file import whole_file

SAMPLE_RATE_HZ = 44_100
PEAK_DBFS = -1.0  # room for what a lossy codec adds to a peak
SILENCE_DB = -60.0  # below the peak: where a tail counts as silence
TAIL_SECONDS = 3.0  # most that is kept after the last note ends
FADE_SECONDS = 0.3
PATIENCE_SECONDS = 60.0  # FluidSynth may take this and the length of the piece

_FAINTEST_PEAK = 1e-4  # -80 dBFS; what FluidSynth renders of audible notes is far above
_STEP = 1_024  # frames; how finely the end of the sound is looked for (23 ms)
_ALL_SOUND_OFF = 120  # controller
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
    score = _read(midi)
    with whole_file(target) as draft, _temporary_folder(score.seconds) as folder:
        player_file, rendered = folder / "piece.mid", folder / "piece.wav"
        _write_playable(midi, score, player_file)
        _Synth(program, font, timeout_s=PATIENCE_SECONDS + score.seconds).midi_to_audio(str(player_file), str(rendered))
        try:
            return _encode(rendered, draft, target, encoding, score.seconds)
        except soundfile.SoundFileError as error:
            raise RenderingError(f"the sound could not be encoded ({error}); is the disk full?") from error


def default_soundfont() -> Path:
    """The General MIDI SoundFont that pretty_midi carries. RenderingError when it is not there."""
    package = importlib.util.find_spec("pretty_midi")  # finds it without the cost of importing it
    if package is None or package.origin is None:
        raise RenderingError("there is no SoundFont: install pretty_midi, which carries one, or name an .sf2 file")
    return check_soundfont(Path(package.origin).with_name("TimGM6mb.sf2"))


def check_soundfont(path: Path) -> Path:
    """The absolute path of a SoundFont 2 or 3 file. RenderingError when it is missing, cut short or something else."""
    path = path.expanduser().absolute()
    try:
        if not path.is_file():  # a pipe or a device would block below
            raise RenderingError(f"there is no SoundFont at {path}; name an existing .sf2 or .sf3 file")
        with open(path, "rb") as file:
            head = file.read(12)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise RenderingError(f"the SoundFont {path} cannot be read: {error.strerror or error}") from error
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise RenderingError(f"{path} is not a SoundFont; an .sf2 or .sf3 file is needed")
    if int.from_bytes(head[4:8], "little") + 8 > size:
        raise RenderingError(f"the SoundFont {path} is cut short; fetch it again")
    return path


def fluidsynth_program() -> str:
    """Where the fluidsynth program is. RenderingError when it is not installed."""
    program = shutil.which("fluidsynth")
    if program is None:
        raise RenderingError("the program fluidsynth is not installed; install it: apt install fluidsynth")
    return program


def _read(midi: Path) -> Score:
    try:
        return read_midi(midi)
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


def _write_playable(midi: Path, score: Score, target: Path) -> None:
    """Write the MIDI file anew, ending a moment after its last note.

    FluidSynth plays on to the end of the longest track, which may be hours of nothing, and waits for
    every voice to end, which one without a note-off never does. Also nothing that mido does not
    understand gets to FluidSynth.
    """
    last_tick = _tick_at(score, (score.seconds + TAIL_SECONDS) * 1000)
    try:
        piece = mido.MidiFile(midi, clip=True)
        for track in piece.tracks:
            _end_at(track, last_tick)
        piece.tracks.append(mido.MidiTrack(
            mido.Message("control_change", channel=channel, control=_ALL_SOUND_OFF, time=0 if channel else last_tick)
            for channel in range(16)
        ))
        piece.type = 1
        piece.save(target)
    except OSError as error:
        raise RenderingError(f"{target} cannot be written: {error.strerror or error}") from error
    except Exception as error:  # mido raises ValueError, TypeError, struct.error and more
        raise UnplayableError(
            f"{midi.name} cannot be played ({type(error).__name__}); open it in a MIDI editor and save it again"
        ) from error


def _end_at(track: mido.MidiTrack, last_tick: int) -> None:
    kept: list[mido.Message] = []
    tick = kept_tick = 0
    for message in track:
        tick += message.time
        if tick > last_tick:
            break
        if message.type != "end_of_track":
            message.time = tick - kept_tick
            kept.append(message)
            kept_tick = tick
    track[:] = kept


def _tick_at(score: Score, ms: float) -> int:
    """The first tick that is not before `ms`."""
    ticks = np.array([tempo.tick for tempo in score.tempos])
    ms_per_tick = np.array([tempo.us_per_quarter for tempo in score.tempos]) / (1000 * score.ticks_per_quarter)
    starts_ms = np.concatenate(([0.0], np.cumsum(np.diff(ticks) * ms_per_tick[:-1])))
    segment = int(np.searchsorted(starts_ms, ms, side="right")) - 1
    return int(ticks[segment]) + math.ceil(float((ms - starts_ms[segment]) / ms_per_tick[segment]))


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
            raise RenderingError(f"fluidsynth failed ({reason}); is the disk full?")


def _encode(rendered: Path, draft: Path, target: Path, encoding: SoundFormat, score_seconds: float) -> Sound:
    with soundfile.SoundFile(rendered) as source:
        if source.frames < (score_seconds * 0.98 - 0.5) * source.samplerate:
            raise RenderingError(
                f"fluidsynth stopped after {source.frames / source.samplerate:.0f} of {score_seconds:.0f} s; "
                "is the disk full?"
            )
        peaks = _peaks(source)
        peak = float(peaks.max(initial=0.0))
        if not math.isfinite(peak):
            raise RenderingError("fluidsynth rendered values that are not numbers; name another SoundFont")
        if peak < _FAINTEST_PEAK:
            raise UnplayableError("the piece is silent: nothing in it can be heard; check its volumes and instruments")
        audible = (int(np.flatnonzero(peaks > peak * 10 ** (SILENCE_DB / 20))[-1]) + 1) * _STEP
        fade = int(FADE_SECONDS * source.samplerate)
        frames = min(audible + fade, source.frames, int((score_seconds + TAIL_SECONDS) * source.samplerate))
        return encode(
            _faded(source, frames, fade, 10 ** (PEAK_DBFS / 20) / peak), draft, target,
            format=encoding, rate_hz=source.samplerate, channels=source.channels,
        )


def _faded(source: soundfile.SoundFile, frames: int, fade: int, gain: float) -> Iterator[np.ndarray]:
    """The first `frames` of a file in blocks, amplified, the last `fade` of them dying away."""
    source.seek(0)
    start = 0
    for block in source.blocks(BLOCK, frames=frames, dtype="float32", always_2d=True):  # (frames, channels)
        left = frames - np.arange(start, start + len(block))  # frames to the end, this one included
        yield block * (gain * np.clip(left / fade, 0, 1))[:, None].astype(np.float32)
        start += len(block)


def _peaks(source: soundfile.SoundFile) -> np.ndarray:
    """The largest absolute sample of every step, over both channels: (steps,)."""
    peaks = [np.zeros(0, dtype=np.float32)]
    for block in source.blocks(BLOCK, dtype="float32", always_2d=True):  # (frames, channels)
        peaks.append(np.maximum.reduceat(np.abs(block).max(axis=1), np.arange(0, len(block), _STEP)))
    return np.concatenate(peaks)

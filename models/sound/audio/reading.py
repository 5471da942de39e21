"""Sound files that people send, as samples: whatever they are called, however long they are, broken or not.

What a file is gets decided by its content (models.sound.audio.containers says what is put up with). libsndfile and
FFmpeg's libraries read it, the second where the first one does not get to the end, and what is more complete is taken.
Both get a format to expect instead of guessing among all that they know, and FFmpeg only the decoders of sound, so that
no playlist is followed and no picture decoded. Run this where a crash of a C library is survived.
"""

from __future__ import annotations

import io
import math
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from av.audio.frame import AudioFrame

from models.errors import InputError
from models.sound.audio.containers import AAC, AMR, MP3, MP4, Kind, announces_too_much, found_in, is_cut, parts_of
from models.sound.audio.limits import LARGEST_BYTES, MOST_SECONDS

LEAST_SECONDS = 0.5
SILENT_PEAK = 1e-4  # -80 dBFS
RATES_HZ = (4_000, 768_000)
MOST_CHANNELS = 64
PATIENCE_S = 20.0  # of processor time; a minute of ordinary sound takes a tenth of a second

_BLOCK = 1 << 18  # samples that are decoded at once, over all channels
_TOLERANCE_S = 0.25  # by which a whole file may be shorter than it announces: what encoders add at both ends
_DAMAGED = "is damaged or cut short and cannot be decoded; save it again, as wav or mp3"
_WORDS = "wav, aiff, flac, ogg, mp3, m4a, aac, mp4, webm, mov, caf, au and amr files are read"
_OUTLANDISH = 100.0  # times what 999 of 1,000 samples stay below, and beyond full scale: such a sample is no sound
_CANCELLED = 0.03  # a mix that is softer than this part of its loudest channel has lost what was in it
_DECODERS = frozenset({
    "aac", "aac_latm", "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "gsm", "gsm_ms", "libgsm", "libgsm_ms",
    "ac3", "alac", "amrnb", "amrwb", "eac3", "flac", "mp2", "mp2float", "mp3", "mp3float", "opus",
    "libopus", "vorbis", "pcm_alaw", "pcm_mulaw", "pcm_u8", "pcm_s8", *(
        f"pcm_{kind}{order}" for kind in ("s16", "s24", "s32", "f32", "f64") for order in ("le", "be")),
})  # fmt: skip


class AudioError(InputError):
    """A sound file that cannot be used: broken, silent, too short, too large, or no sound at all."""


def read_audio(
    path: Path, *, rate_hz: int, channels: int, most_seconds: float = MOST_SECONDS, end: bool = False,
) -> np.ndarray:
    """The first `most_seconds` of a sound file, or of a video's sound, as float32 (frames, channels) at `rate_hz`.

    `end`: the last ones instead. `channels` is 1 or 2: what has more is mixed down, what has less is doubled; where
    channels cancel each other out in that, the loudest one is taken. Samples are between -1 and 1; a file of floats that
    is louder is scaled to a peak of 1, single samples that are no sound (1e30) left out. Nothing behind `most_seconds` is
    decoded unless the end is wanted, and memory is bounded by them, not by the file.

    Raises AudioError, its message one line that begins with the file's name: when there is no such file, it has
    more than 10 MB, is no sound, is damaged, cut short within what would be used, silent (peak of each channel below
    -80 dBFS), shorter than half a second, holds values that are not numbers, or takes too long to decode.
    """
    return _samples_of(_content(path), _name(path), rate_hz=rate_hz, channels=channels, most_seconds=most_seconds, end=end)


def read_end(path: Path, rate_hz: int, channels: int) -> tuple[np.ndarray, bool]:
    """The last minute of a sound file, as `read_audio` gives it, and whether there is more in front of it.

    Silence at the very end is left out: what goes on from there would be silence, too.
    """
    samples = read_audio(path, rate_hz=rate_hz, channels=channels, most_seconds=MOST_SECONDS + 1, end=True)
    most = round(MOST_SECONDS * rate_hz)
    heard = int(np.flatnonzero(np.abs(samples).max(axis=1) >= SILENT_PEAK)[-1]) + 1
    sounding = samples[-most:][:max(heard - max(len(samples) - most, 0), round(LEAST_SECONDS * rate_hz))]
    return sounding, len(samples) > most


def checked(content: bytes, name: str, *, end: bool = False) -> None:
    """Raises AudioError as `read_audio` does where the content of a file could not be used."""
    if not content:
        raise AudioError(f"{name} is empty")
    _samples_of(content, name, rate_hz=32_000, channels=1, most_seconds=MOST_SECONDS, end=end)


def _samples_of(content: bytes, name: str, *, rate_hz: int, channels: int, most_seconds: float, end: bool) -> np.ndarray:
    if channels not in (1, 2):
        raise ValueError(f"channels must be 1 or 2, not {channels}")
    found = found_in(content)
    if found is None:
        raise AudioError(f"{name} is no sound file; {_WORDS}")
    kind, content = found
    deadline = time.thread_time() + PATIENCE_S

    def intake(only: int | None = None) -> _Intake:
        return _Intake(rate_hz, channels, most_seconds, deadline, end=end, only=only)

    try:
        taken = _decoded(content, kind, intake)
        if (loudest := taken.cancelled) is not None:
            taken = _decoded(content, kind, lambda: intake(loudest))
        return taken.samples()
    except AudioError as error:
        raise AudioError(f"{name} {error}") from error.__cause__


class _Intake:
    """Blocks of any rates and numbers of channels in, samples as they were asked for out."""

    def __init__(
        self, rate_hz: int, channels: int, most_seconds: float, deadline: float, *, end: bool, only: int | None,
    ) -> None:
        self._target_hz, self._channels, self.most_seconds = rate_hz, channels, most_seconds
        self._end, self._only, self._deadline = end, only, deadline
        self._source_hz = self._frames = self._room = 0  # of what came at the present rate
        self._before = 0.0  # seconds that came at other rates
        self._resampler: soxr.ResampleStream | None = None
        self._parts: deque[np.ndarray] = deque()
        self._kept = 0  # frames in the parts
        self._peaks, self._mixed_peak = np.zeros(1, np.float32), 0.0

    @property
    def full(self) -> bool:
        return not self._end and self._source_hz > 0 and self._frames >= self._room

    @property
    def seconds(self) -> float:
        """What came in, of the file's own time."""
        return self._before + (self._frames / self._source_hz if self._source_hz else 0.0)

    @property
    def cancelled(self) -> int | None:
        """The loudest channel, where mixing has all but removed it."""
        return int(self._peaks.argmax()) if self._mixed_peak < _CANCELLED * self._peaks.max() else None

    def check_time(self) -> None:
        if time.thread_time() > self._deadline:
            raise AudioError("takes too long to decode; save it as wav or mp3 and send that")

    def add(self, block: np.ndarray, rate_hz: int) -> None:
        """Take in what there is still room for of a block: float32 (frames, channels of the file)."""
        self.check_time()
        if rate_hz != self._source_hz:
            self._turn_to(rate_hz)
        if not 0 < block.shape[1] <= MOST_CHANNELS:
            raise AudioError(f"has {block.shape[1]} channels; at most {MOST_CHANNELS} are read")
        if not self._end:
            block = block[:self._room - self._frames]
        if not len(block):
            return
        peaks = np.abs(block).max(axis=0)
        if not np.isfinite(peaks).all():
            raise AudioError("holds values that are not numbers; save it again as 16-bit wav")
        if peaks.max() > 1:
            block = _believable(block)
            peaks = np.abs(block).max(axis=0)
        if len(self._peaks) != len(peaks):
            self._peaks = np.resize(self._peaks, len(peaks))
        self._peaks = np.maximum(self._peaks, peaks)
        self._frames += len(block)
        only = self._only
        mixed = _mixed(block if only is None or only >= block.shape[1] else block[:, only:only + 1], self._channels)
        self._mixed_peak = max(self._mixed_peak, float(np.abs(mixed).max()))
        self._keep(mixed if self._resampler is None else self._resampler.resample_chunk(mixed))

    def samples(self) -> np.ndarray:
        """All that came in, or its end. Raises AudioError when it is too short or silent."""
        if self.seconds < LEAST_SECONDS:
            length = f"only {self.seconds:.2f} s long" if self._frames else "without any sound"
            raise AudioError(f"is {length}; at least {LEAST_SECONDS:g} s are needed")
        self._flush()
        frames = round(min(self.seconds, self.most_seconds) * self._target_hz)
        joined = np.concatenate(self._parts)
        samples = joined[-frames:] if self._end else joined[:frames]
        samples = np.pad(samples, ((0, frames - len(samples)), (0, 0)))
        peak = float(np.abs(samples).max())
        if peak < SILENT_PEAK:
            raise AudioError(self._silence())
        return samples / np.float32(peak) if peak > 1 else samples

    def _silence(self) -> str:
        if self.full or self.seconds > self.most_seconds:
            which = "last" if self._end else "first"
            return f"is silent in its {which} {self.most_seconds:g} s, and only those are heard; cut the silence off"
        return "is silent; record it again, louder"

    def _keep(self, part: np.ndarray) -> None:
        self._parts.append(part)
        self._kept += len(part)
        most = math.ceil(self.most_seconds * self._target_hz)
        while self._end and self._kept - len(self._parts[0]) >= most:
            self._kept -= len(self._parts.popleft())

    def _flush(self) -> None:
        if self._resampler is not None:
            self._keep(self._resampler.resample_chunk(np.zeros((0, self._channels), np.float32), last=True))
            self._resampler = None

    def _turn_to(self, rate_hz: int) -> None:
        low, high = RATES_HZ
        if not low <= rate_hz <= high:
            raise AudioError(f"has a sample rate of {rate_hz:,} Hz; {low:,} to {high:,} Hz are read")
        self._flush()
        self._before, self._frames = self.seconds, 0
        self._source_hz, self._room = rate_hz, math.ceil((self.most_seconds - self._before) * rate_hz)
        if rate_hz != self._target_hz:
            self._resampler = soxr.ResampleStream(rate_hz, self._target_hz, self._channels, dtype="float32")


def _believable(block: np.ndarray) -> np.ndarray:
    """A block without samples beside which all others would be nothing. They would spread when resampled, too."""
    sizes = np.abs(block)
    return np.where(sizes > max(1.0, _OUTLANDISH * float(np.quantile(sizes, 0.999))), np.float32(0), block)


def _mixed(block: np.ndarray, channels: int) -> np.ndarray:
    """(frames, any) -> (frames, channels)."""
    have = block.shape[1]
    if have == channels:
        return np.ascontiguousarray(block)
    if channels == 1:
        return np.asarray(block.mean(axis=1, keepdims=True), dtype=np.float32)
    if have == 1:
        return np.repeat(block, 2, axis=1)
    # Surround sound: the first two channels are left and right in every order that is in use; the others go to both.
    others = block[:, 2:].sum(axis=1, keepdims=True)
    return np.asarray((block[:, :2] + 0.5 * others) / (1 + 0.5 * (have - 2)), dtype=np.float32)


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe or a device would block below
            raise AudioError(f"there is no sound file {_name(path)}")
        with open(path, "rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise AudioError(f"{_name(path)} cannot be read: {error.strerror or error}") from error
    if not content:
        raise AudioError(f"{_name(path)} is empty")
    if len(content) > LARGEST_BYTES:
        raise AudioError(f"{_name(path)} has more than {LARGEST_BYTES >> 20} MB; send a shorter piece, or an mp3 of it")
    return content


def _name(path: Path) -> str:
    """A file's name, fit for one line."""
    return "".join(sign if sign.isprintable() else "?" for sign in path.name)[:80]


def _decoded(content: bytes, kind: Kind, intake: Callable[[], _Intake]) -> _Intake:
    """What the readers of a kind get out of a file: all of it, or a reason why not."""
    parts, attempts, refusal = parts_of(content, kind), [], None
    for reader in kind.readers:
        taken, announced = intake(), None
        failure: Exception | None = None
        try:
            announced = _read_parts(reader, parts, kind, taken)
        except AudioError as error:
            refusal = refusal or error
            failure = error
        except (soundfile.SoundFileError, av.FFmpegError, ValueError, LookupError) as error:
            failure = error
        expected = taken.most_seconds if announced is None or taken.full else announced
        short = announced is not None and not taken.full and taken.seconds < expected - _TOLERANCE_S
        if failure is None and not short and taken.seconds >= LEAST_SECONDS and (taken.full or not is_cut(content, kind)):
            return taken
        attempts.append((taken, short, failure))
    if refusal is not None:
        raise refusal
    best, short, failure = max(attempts, key=lambda attempt: (attempt[2] is None, attempt[0].seconds))
    if is_cut(content, kind) or short:
        raise _cut_short(best) from failure
    if failure is not None:
        raise AudioError(_DAMAGED) from failure
    return best


def _read_parts(reader: str, parts: list[bytes], kind: Kind, intake: _Intake) -> float | None:
    """Returns the seconds that the parts announce together; None where one does not know."""
    announced: float | None = 0.0
    for part in parts:
        if intake.full:
            break
        if reader == "ffmpeg":
            said = _decode_by_ffmpeg(part, kind, intake)
        else:
            with soundfile.SoundFile(io.BytesIO(part)) as file:
                said = _decode_by_libsndfile(file, intake)
        announced = None if announced is None or said is None else announced + said
    return None if kind is MP3 else announced


def _cut_short(intake: _Intake) -> AudioError:
    after = f" after {intake.seconds:.1f} s" if intake.seconds else ""
    return AudioError(f"is cut short{after}; send it again, whole")


def _decode_by_libsndfile(file: soundfile.SoundFile, intake: _Intake) -> float | None:
    """Returns the seconds that the file announces; None where it does not know."""
    if file.channels > MOST_CHANNELS:
        raise AudioError(f"has {file.channels} channels; at most {MOST_CHANNELS} are read")
    size = max(_BLOCK // file.channels, 1024)
    # Not `blocks`: after a short read it hands out what was in its buffer before.
    while not intake.full and len(block := file.read(size, dtype="float32", always_2d=True)):
        intake.add(block, file.samplerate)
    return file.frames / file.samplerate if 0 < file.frames < 1 << 60 else None


class _Watched(io.BytesIO):
    """A file in memory that looks at the clock whenever FFmpeg reads from it."""

    def __init__(self, content: bytes, intake: _Intake) -> None:
        super().__init__(content)
        self._intake = intake

    def read(self, size: int | None = -1, /) -> bytes:
        self._intake.check_time()
        return super().read(size)


def _decode_by_ffmpeg(content: bytes, kind: Kind, intake: _Intake) -> float | None:
    """Returns the seconds that the sound is announced to have; None where that is not known."""
    if kind is MP4 and announces_too_much(content):
        raise AudioError(_DAMAGED)
    allowed = ",".join(sorted(_DECODERS))
    with av.open(
        _Watched(content, intake), "r", format=kind.demuxer, metadata_errors="replace",
        options={"codec_whitelist": allowed},  # or it would decode pictures to find out what they are
    ) as container:
        if not container.streams.audio:
            raise _cut_short(intake) if is_cut(content, kind) else AudioError("holds no sound")
        stream = container.streams.audio[0]
        if getattr(stream.codec_context, "name", "") not in _DECODERS:  # there is no context where FFmpeg knows no decoder
            raise AudioError(f"holds sound that is encoded in a way that is not read; {_WORDS}")
        for packet in container.demux():  # of all streams, so that the clock is looked at between those of others too
            intake.check_time()
            if packet.stream_index != stream.index:
                continue
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:  # players leave out what they cannot decode; the length shows how much it was
                continue
            for frame in frames:
                assert isinstance(frame, AudioFrame)
                intake.add(_samples(frame), frame.sample_rate)
            if intake.full:
                break
        if stream.duration is None or stream.time_base is None or kind in (AAC, AMR):  # of these it is a guess
            return None
        return float(stream.duration * stream.time_base)


def _samples(frame: AudioFrame) -> np.ndarray:
    """A decoded frame as float32 (frames, channels)."""
    channels = frame.layout.nb_channels
    if not 0 < channels <= MOST_CHANNELS or frame.samples * channels > 16 * _BLOCK:
        raise AudioError(_DAMAGED)
    values = frame.to_ndarray()
    values = values.T if frame.format.is_planar else values.reshape(-1, channels)
    if values.dtype == np.uint8:
        return (values.astype(np.float32) - 128) / 128
    samples = values.astype(np.float32)
    return samples * np.float32(2.0 ** (1 - 8 * values.dtype.itemsize)) if values.dtype.kind == "i" else samples

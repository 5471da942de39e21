"""What the tests of the audiocraft runtime run in audiocraft's own environment, which has no pytest.

`python cases.py FOLDER`: writes small models into the folder, runs all cases and writes `results.json`:
for each case what it returned, or the error it raised.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import torch

from models.engines.audiocraft.calls import CalledSequence
from models.engines.audiocraft.engine import AudiocraftEngine
from models.engines.audiocraft.library import library, looking_in, read_weights
from models.errors import KapelleError
from models.interface.audio import AudioPlan, AudioRequest

if TYPE_CHECKING:
    from tests.engines.audiocraft import building
else:
    import building  # beside this file; other packages, too, install a folder `tests`

FOLDER = Path(sys.argv[1])
DATA = FOLDER / "data"
TONE = FOLDER / "tone.wav"  # a second
CASES: dict[str, Callable[[], dict[str, Any]]] = {}
SMALL = "audiocraft-musicgen-small"


def case(function: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    CASES[function.__name__] = function
    return function


def build() -> None:
    DATA.mkdir(parents=True)
    soundfile.write(TONE, 0.4 * np.sin(np.arange(32_000) * 2 * np.pi * 440 / 32_000), 32_000)
    torch.manual_seed(1)
    library()
    with looking_in(DATA):
        building.write_text_encoder(DATA)
        building.write_separator(DATA)
        building.write_named_codec(DATA)
        building.write_diffusion(DATA / "multiband-diffusion")
        building.write_model(DATA / "musicgen-small")
        building.write_model(DATA / "musicgen-stereo-small", stereo=True, own=False)
        building.write_model(DATA / "musicgen-melody", melody=True)
        building.write_model(DATA / "audiogen-medium", family="AudioGen", seconds=10)
        building.write_model(DATA / "magnet-small-10secs", family="MAGNeT", seconds=2)


def load(name: str, window: float | None = None) -> AudiocraftEngine:
    engine = AudiocraftEngine.load(name, data=DATA, device="cpu")
    if window is not None:
        engine._model.max_duration = window
    return engine


def asked(**parameters: Any) -> AudioRequest:
    usual: dict[str, Any] = {"prompt": "sad jazz piano", "seconds": 1.0}
    return AudioRequest(**usual | parameters)


def decode(engine: AudiocraftEngine, plan: AudioPlan, takes: tuple[int, ...] = ()) -> list[CalledSequence]:
    """Let an engine make all takes of a plan, or those that are named."""
    wanted = [one for one in called(engine, plan) if not takes or one.take in takes]
    for one in wanted:
        engine.batcher.add(one)
    while engine.batcher.busy:
        engine.batcher.step()
    return wanted


def called(engine: AudiocraftEngine, plan: AudioPlan) -> list[CalledSequence]:
    return [one for one in engine.sequences(plan) if isinstance(one, CalledSequence)]


def described(engine: AudiocraftEngine, plan: AudioPlan, made: list[CalledSequence]) -> dict[str, Any]:
    sounds = [engine.sound(plan, engine.take(plan, one)) for one in made]
    return {"codes": [list(one.content.shape) for one in made], "ids": [one.content.flatten().tolist() for one in made],
            "sounds": [list(sound.shape) for sound in sounds], "kinds": [str(sound.dtype) for sound in sounds],
            "peaks": [float(np.abs(sound).max()) for sound in sounds], "rate_hz": engine.rate_hz,
            "states": [one.state.value for one in made], "progress": [one.progress for one in made],
            "licence": plan.licence, "notices": list(plan.notices)}


def whole(name: str, **parameters: Any) -> dict[str, Any]:
    engine = load(name)
    plan = engine.plan(asked(**parameters))
    return described(engine, plan, decode(engine, plan))


@case
def debug_text() -> dict[str, Any]:
    return whole("audiocraft-debug", seconds=2.0, takes=2)


@case
def debug_continuation() -> dict[str, Any]:
    engine = load("audiocraft-debug")
    plan = engine.plan(asked(seconds=3.0, continuation=TONE))
    result = described(engine, plan, made := decode(engine, plan))
    codes, _ = engine._model.compression_model.encode(plan.condition.prompt[None])
    length = codes.shape[-1]
    return result | {"prompt": codes.tolist(), "begins": made[0].content[None, :, :length].tolist()}


@case
def debug_melody() -> dict[str, Any]:
    return whole("audiocraft-debug", melody=TONE)


@case
def mono() -> dict[str, Any]:
    return whole(SMALL, seconds=1.5, takes=2)


@case
def stereo() -> dict[str, Any]:
    return whole("audiocraft-musicgen-stereo-small")


@case
def melody() -> dict[str, Any]:
    engine = load("audiocraft-musicgen-melody")
    followed, free = engine.plan(asked(melody=TONE)), engine.plan(asked())
    result = described(engine, followed, decode(engine, followed))
    return result | {"free": decode(engine, free)[0].content.flatten().tolist()}


@case
def melody_and_continuation_over_several_windows() -> dict[str, Any]:
    engine = load("audiocraft-musicgen-melody", window=2)
    plan = engine.plan(asked(seconds=4.0, melody=TONE, continuation=TONE))
    return described(engine, plan, decode(engine, plan))


@case
def sound_effects() -> dict[str, Any]:
    return whole("audiocraft-audiogen-medium", seconds=1.5)


@case
def all_at_once() -> dict[str, Any]:
    return whole("audiocraft-magnet-small-10secs", seconds=1.5, takes=2, temperature=0.0) | {
        "sampled": whole("audiocraft-magnet-small-10secs", seconds=1.5)["codes"]}


@case
def all_at_once_but_too_long() -> dict[str, Any]:
    return whole("audiocraft-magnet-small-10secs", seconds=3.0)


@case
def diffusion() -> dict[str, Any]:
    engine, other = load(SMALL + "-mbd"), load("audiocraft-musicgen-stereo-small-mbd")
    plan, wide = engine.plan(asked()), other.plan(asked())
    made = decode(engine, plan)
    first = engine.sound(plan, engine.take(plan, made[0]))
    torch.rand(1)  # somebody else uses torch's generator
    second = engine.sound(plan, engine.take(plan, made[0]))
    return described(engine, plan, made) | {
        "again": [np.array_equal(first, second)], "stereo": described(other, wide, decode(other, wide))["sounds"]}


@case
def the_same_alone_and_among_others() -> dict[str, Any]:
    engine = load(SMALL)
    request = asked(takes=3, seed=5)
    together = decode(engine, engine.plan(request))
    alone = decode(engine, engine.plan(request), takes=(2,))
    other = decode(engine, engine.plan(asked(takes=1, seed=6)))
    ids = [one.content.tolist() for one in together]
    return {"alone": alone[0].content.tolist(), "together": ids, "other_seed": other[0].content.tolist()}


@case
def longer_than_the_window() -> dict[str, Any]:
    engine = load(SMALL, window=2)
    made: dict[str, list[Any]] = {"lengths": [], "shares": [], "told": [], "halfway": []}
    for seconds in (2.0, 2.02, 2.4, 3.3, 5.0, 7.18):
        plan = engine.plan(asked(seconds=seconds, stride=18.0))
        calls = _counted(engine)
        take = decode(engine, plan)[0]
        made["lengths"].append(take.content.shape[-1])
        made["shares"].append(take.share)
        made["told"].append([len(calls), engine._steps(plan.condition), max(done / total for done, total, _ in calls)])
        made["halfway"].append(calls[len(calls) // 2][2])
    return made


def _counted(engine: AudiocraftEngine) -> list[tuple[int, int, float]]:
    """What the library tells of its progress from here on, as it tells it, and what the engine makes of it."""
    calls: list[tuple[int, int, float]] = []

    def counting(tell: Callable[[int, int], None]) -> None:
        def told(done: int, total: int) -> None:
            tell(done, total)
            calls.append((done, total, engine.batcher.running[0].progress))

        type(engine._model).set_custom_progress_callback(engine._model, told)

    engine._model.set_custom_progress_callback = counting
    return calls


@case
def progress_while_the_caller_stays_responsive() -> dict[str, Any]:
    engine = load(SMALL)
    plan = engine.plan(asked(seconds=20.0, takes=2))
    sequences = called(engine, plan)
    for one in sequences:
        engine.batcher.add(one)
    longest, shares = 0.0, []
    while engine.batcher.busy:
        before = time.monotonic()
        engine.batcher.step()
        longest = max(longest, time.monotonic() - before)
        shares.append([one.progress for one in sequences])
    return {"longest": longest, "shares": shares, "lengths": [len(one.ids) for one in sequences]}


@case
def cancelled() -> dict[str, Any]:
    engine = load(SMALL)
    untouched = decode(engine, engine.plan(asked(seed=3)))[0].content.tolist()
    plan = engine.plan(asked(seconds=25.0, takes=2))
    first, second = called(engine, plan)
    (waiting,) = called(engine, engine.plan(asked(seed=3)))
    for one in (first, second, waiting):
        engine.batcher.add(one)
    while first.progress < 0.05:
        engine.batcher.step()
    engine.batcher.cancel(first)
    engine.batcher.step()
    alone = [one.take for one in engine.batcher.running]
    engine.batcher.cancel(second)
    stopped_at = second.share
    busy = engine.batcher.busy
    while engine.batcher.busy:
        engine.batcher.step()
    threads = [one.name for one in threading.enumerate() if one.name == "audiocraft"]
    return {"alone": alone, "busy": busy, "share": [stopped_at, second.share], "states": [
        one.state.value for one in (first, second, waiting)], "threads": threads, "made": second.content is not None,
        "untouched": untouched, "after": waiting.content.tolist()}


@case
def failing() -> dict[str, Any]:
    engine = load(SMALL)
    good = engine.plan(asked())
    bad = engine.plan(asked())
    object.__setattr__(bad.condition, "prompt", torch.zeros(7, 3))  # what no encoder takes
    sequences = engine.sequences(bad)
    engine.batcher.add(sequences[0])
    try:
        while engine.batcher.busy:
            engine.batcher.step()
    except Exception as error:
        raised = type(error).__name__
    return {"raised": raised, "state": sequences[0].state.value, "busy": engine.batcher.busy,
            "next": decode(engine, good)[0].state.value}


@case
def both_attentions_agree() -> dict[str, Any]:
    from audiocraft.modules import transformer
    result = {}
    for backend in ("xformers", "torch"):
        transformer.set_efficient_attention_backend(backend)
        try:
            engine = load(SMALL)
            plan = engine.plan(asked(seconds=2.0, temperature=0.0, continuation=TONE))
            result[backend] = decode(engine, plan)[0].content.tolist()
        finally:
            transformer.set_efficient_attention_backend("xformers")
    return result


@case
def spectrogram() -> dict[str, Any]:
    torchaudio: Any = importlib.import_module("torchaudio")
    samples = torch.from_numpy(soundfile.read(TONE, dtype="float32")[0])
    long, step = 16_384, 4_096
    made = torchaudio.transforms.Spectrogram(
        n_fft=long, win_length=long, hop_length=step, power=2, center=True, pad=0, normalized=True)(samples[None])
    middle = made.shape[-1] // 2
    window = torch.hann_window(long)
    piece = samples[step * middle - long // 2:][:long] * window
    expected = torch.fft.rfft(piece).abs().square() / window.square().sum()
    return {"stand_in": "standins" in torchaudio.__file__, "shape": list(made.shape),
            "off": float((made[0, :, middle] - expected).abs().max() / expected.max()),
            "loudness": float(torchaudio.transforms.Loudness(32_000)(samples[None]))}


@case
def hostile() -> dict[str, Any]:
    mark = FOLDER / "executed"

    class Hostile:
        def __reduce__(self) -> Any:
            return Path.touch, (mark,)

    torch.save({"best_state": {}, "xp.cfg": Hostile()}, path := FOLDER / "hostile.bin")
    try:
        read_weights(path)
        told = ""
    except KapelleError as error:
        told = str(error)
    return {"told": told, "executed": mark.exists()}


def refused(name: str, *, change: Callable[[Path], None] | None = None, model: str = "musicgen-small") -> dict[str, Any]:
    """What is said of a copy of the small models with something changed."""
    import shutil
    place = FOLDER / "changed"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(DATA, place)
    if change:
        change(place)
    try:
        AudiocraftEngine.load(name, data=place, device="cpu")
    except KapelleError as error:
        return {"kind": type(error).__name__, "told": str(error)}
    return {"kind": "", "told": ""}


@case
def refusals() -> dict[str, Any]:
    def narrow(place: Path) -> None:
        path = place / "musicgen-small" / "state_dict.bin"
        content = torch.load(path, weights_only=True)
        content["xp.cfg"] = content["xp.cfg"].replace("dim: 32", "dim: 48")
        torch.save(content, path)

    def no_settings(place: Path) -> None:
        torch.save({"best_state": {}}, place / "musicgen-small" / "state_dict.bin")

    def without(*path: str) -> Callable[[Path], None]:
        import shutil
        return lambda place: shutil.rmtree(target) if (target := place.joinpath(*path)).is_dir() else target.unlink()

    def cut(place: Path) -> None:
        path = place / "musicgen-small" / "compression_state_dict.bin"
        path.write_bytes(path.read_bytes()[:5000])

    def foreign(place: Path) -> None:
        from safetensors.torch import save_file
        save_file({"a": torch.zeros(1)}, place / "HTDemucs" / "small.safetensors", {
            "klass": "os.system", "args": json.dumps([f"touch {FOLDER / 'executed-too'}"]), "kwargs": "{}"})

    return {
        "other name": refused("audiocraft-musicgen-tiny"),
        "newer": refused("audiocraft-musicgen-style"),
        "chords": refused("audiocraft-jasco-chords-drums-400M"),
        "no model": refused(SMALL, change=without("musicgen-small")),
        "no codec": refused(SMALL, change=without("musicgen-small", "compression_state_dict.bin")),
        "no named codec": refused("audiocraft-musicgen-stereo-small", change=without("encodec_32khz")),
        "no text": refused(SMALL, change=without("t5-small")),
        "no separator": refused("audiocraft-musicgen-melody", change=without("HTDemucs")),
        "no diffusion": refused(SMALL + "-mbd", change=without("multiband-diffusion")),
        "other sizes": refused(SMALL, change=narrow),
        "no settings": refused(SMALL, change=no_settings),
        "cut": refused(SMALL, change=cut),
        "foreign separator": refused("audiocraft-musicgen-melody", change=foreign),
        "executed": {"kind": str((FOLDER / "executed-too").exists()), "told": ""},
    }


def main() -> None:
    build()
    results = {}
    for name, function in CASES.items():
        began = time.monotonic()
        try:
            results[name] = function()
        except Exception as error:
            results[name] = {"error": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()}
        results[name]["took"] = round(time.monotonic() - began, 2)
    (FOLDER / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()

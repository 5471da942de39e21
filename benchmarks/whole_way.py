"""From the command to finished takes: where the time goes, and how it compares with the music's own time."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Run in a process of its own, so that the interpreter's start and imports count. The clock is the machine's, not the
# process's.
_PARTS = """
import sys, time
started = float(sys.argv[2])
from pathlib import Path
from models.engines.registry import load_engine
from models.interface.engine import Host
from models.interface.midi import ComposeRequest
engine = load_engine("pocket", None, Host(Path("data")))
loaded, loaded_cpu = time.monotonic(), time.process_time()
plan = engine.plan(ComposeRequest("Nocturne", "Chopin", takes=1, seed=1))
(sequence,) = engine.sequences(plan)
planned = time.monotonic()
engine.batcher.add(sequence)
engine.batcher.step()
primed = time.monotonic()
while engine.batcher.busy:
    engine.batcher.step()
take = engine.take(plan, sequence)
decoded = time.monotonic()
from models.sound.rendering.roll import draw_roll
from models.sound.rendering.sound import render_sound
from models.music.score.midi import write_midi
folder = Path(sys.argv[1])
write_midi(take.score, folder / "take.mid")
sound = render_sound(folder / "take.mid", folder / "take.ogg")
sounded = time.monotonic()
draw_roll(take.score, folder / "take.png", title="Nocturne")
done = time.monotonic()
import json
print(json.dumps({
    "load": loaded - started, "load_cpu": loaded_cpu, "plan": planned - loaded, "prefill": primed - planned,
    "decode": decoded - primed, "sound": sounded - decoded, "picture": done - sounded, "music": sound.seconds}))
"""


@dataclass(frozen=True)
class Command:
    """One run of `kapelle compose` with four takes: seconds it took, seconds of music, peak memory in bytes."""

    seconds: float
    music_s: float
    peak_bytes: int


def parts() -> dict[str, float]:
    """Seconds from the command to a finished take, part by part; `load_cpu` is all CPU time until the model is there."""
    with tempfile.TemporaryDirectory() as folder:
        done = _run([sys.executable, "-c", _PARTS, folder, str(time.monotonic())])
    return {name: float(value) for name, value in json.loads(done).items()}


def command() -> Command:
    """`kapelle compose` with its defaults: four takes of 512 tokens, sound and pictures included."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        done = _run([sys.executable, "-m", "bot", "compose", "Nocturne", "--artist", "Chopin", "--seed", "1", "--json",
                     "--out", folder])
        seconds = time.perf_counter() - started
    # The largest of all children so far; this one is the largest by far, FluidSynth has its own process.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return Command(seconds, sum(take["seconds"] for take in json.loads(done)["takes"]), peak)


def _run(arguments: Sequence[str]) -> str:
    root = Path(__file__).parents[1]
    return subprocess.run(
        arguments, check=True, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(root)}, timeout=600).stdout

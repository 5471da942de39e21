"""audiocraft's environment: made by real pip from small wheels that the test writes, apart from Kapelle's own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.cli import install as command_line
from bot.hosting import audiocraft
from bot.hosting.environments import State
from bot.settings import Settings
from models.errors import InputError, KapelleError

PROJECT = Path(audiocraft.__file__).parents[2]
PINS = "torch==2.13.0\naudiocraft==1.3.0\neinops==0.8.2\n"


def write_wheel(folder: Path, name: str, version: str, *requires: str) -> None:
    facts = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", f"__version__ = {version!r}\n")
        wheel.writestr(f"{facts}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(
            f"Requires-Dist: {one}\n" for one in requires))
        wheel.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{facts}/RECORD", "")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip knows and nothing else; what audiocraft asks for cannot be had together."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    write_wheel(folder, "torch", "2.13.0+cpu")
    write_wheel(folder, "einops", "0.8.2", "torch>=1")
    write_wheel(folder, "setuptools", "99.0")
    write_wheel(folder, "audiocraft", "1.3.0", "torch==2.1.0", "xformers<0.0.23")
    (tmp_path / "constraints-audiocraft.txt").write_text(PINS)
    monkeypatch.setattr(audiocraft, "_CONSTRAINTS", tmp_path / "constraints-audiocraft.txt")
    monkeypatch.setattr(audiocraft, "LIBRARIES", ("einops",))
    monkeypatch.setattr(audiocraft, "COMPANIONS", ())
    monkeypatch.setattr(audiocraft, "check", lambda python: f"tried {python}")
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(folder), "CONFIG_FILE": "/dev/null", "TARGET": "/nowhere"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_with(tmp_path / "data")


def settings_with(data: Path, python: Path | None = None) -> Settings:
    return Settings(_env_file=None, data=data, audiocraft_python=python)  # type: ignore[call-arg]


def installed(python: Path) -> list[str]:
    freeze = [str(python), "-m", "pip", "freeze", "--all"]
    return subprocess.run(freeze, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.slow
def test_audiocraft_gets_an_environment_of_its_own_and_the_other_one_stays_as_it_is(wheels: Path, settings: Settings) -> None:
    before, told = installed(Path(sys.executable)), list[str]()
    result = audiocraft.install(settings, told.append)
    python = audiocraft.interpreter(settings)
    assert installed(Path(sys.executable)) == before
    there = installed(python)
    assert {"audiocraft==1.3.0", "einops==0.8.2", "torch==2.13.0+cpu"} <= set(there)
    assert not any(line.startswith("xformers") for line in there)
    assert result == f"audiocraft==1.3.0 with torch==2.13.0 is in {settings.data.absolute() / 'audiocraft'}"
    assert [line for line in told if line.startswith("Installing torch")] == [
        "Installing torch==2.13.0, the build that pip offers here ..."]

    told.clear()
    shutil.rmtree(wheels)
    assert audiocraft.install(settings, told.append) == result
    assert told == []  # it is there


@pytest.mark.slow
def test_an_installation_that_broke_off_starts_over(wheels: Path, settings: Settings, tmp_path: Path) -> None:
    (wheels / "einops-0.8.2-py3-none-any.whl").unlink()
    told: list[str] = []
    with pytest.raises(KapelleError, match=r"^Installing packages failed; the lines above say why\.$"):
        audiocraft.install(settings, told.append)
    assert any("einops" in line for line in told)
    with pytest.raises(InputError, match="not installed; type: kapelle install audiocraft"):
        audiocraft.interpreter(settings)

    left_over = settings.data / "audiocraft" / "left-over"
    left_over.touch()
    write_wheel(wheels, "einops", "0.8.2")
    audiocraft.install(settings, told.append)
    assert audiocraft.interpreter(settings).is_file()
    assert not left_over.exists()

    with (tmp_path / "constraints-audiocraft.txt").open("a") as constraints:
        constraints.write("# newer\n")
    assert audiocraft.environment(settings).state is State.OUTDATED
    assert audiocraft.interpreter(settings).is_file()  # it still runs


def test_a_full_disk_is_told_before_anything_is_done(
    wheels: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 5 * 10**8))
    with pytest.raises(KapelleError, match=r"has 0\.5 GB left, audiocraft needs at least 4 GB"):
        audiocraft.install(settings, print)
    assert not (settings.data / "audiocraft").exists()


def test_without_the_repository_it_says_so(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audiocraft, "_CONSTRAINTS", tmp_path / "none.txt")
    with pytest.raises(InputError, match=r"none\.txt is missing; .* in a checkout"):
        audiocraft.install(settings, print)


def test_nothing_runs_before_it_is_installed(settings: Settings) -> None:
    with pytest.raises(InputError, match=r"^audiocraft is not installed; type: kapelle install audiocraft$"):
        audiocraft.command(settings)


def test_an_interpreter_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    settings = settings_with(tmp_path, link)
    assert audiocraft.interpreter(settings) == link  # a link of a virtual environment stays one
    assert audiocraft.command(settings) == [
        str(link), "-E", "-P", str(PROJECT / "bot" / "hosting" / "audiocraft_worker.py"), "bot.worker"]
    monkeypatch.setattr(audiocraft, "check", lambda python: "audiocraft 1.4.0")
    assert audiocraft.install(settings, print) == (
        "KAPELLE_AUDIOCRAFT_PYTHON names an interpreter with audiocraft 1.4.0; there is nothing to install")
    assert not (tmp_path / "audiocraft").exists()


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_text("text"), lambda path: path.mkdir()])
def test_what_is_no_interpreter_is_refused(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "python")
    with pytest.raises(InputError, match=r"^KAPELLE_AUDIOCRAFT_PYTHON is \S+/python, which is no program; name a Python"):
        audiocraft.command(settings_with(tmp_path, tmp_path / "python"))


def test_an_interpreter_without_audiocraft_is_told_so() -> None:
    with pytest.raises(KapelleError, match=rf"^audiocraft does not work in {sys.executable}: audiocraft is not installed"):
        audiocraft.check(Path(sys.executable))


def test_the_command_prints_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAPELLE_DATA", str(tmp_path))
    monkeypatch.setattr(audiocraft, "install", lambda settings, tell: f"audiocraft is in {settings.data}")
    command_line.audiocraft()
    assert capsys.readouterr().out == f"audiocraft is in {tmp_path}\n"


def test_a_worker_finds_kapelle_and_none_of_its_neighbours(tmp_path: Path) -> None:
    home, astray = tmp_path / "home", tmp_path / "astray"
    for package in (home / "bot" / "hosting", home / "models", home / "numpy", astray / "bot"):
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
    shutil.copy(PROJECT / "bot" / "hosting" / "audiocraft_worker.py", home / "bot" / "hosting")
    (home / "bot" / "probe.py").write_text(
        "import importlib.util, sys\nimport models\nprint(models.__file__, __name__, sys.argv[1:])\n"
        f"found = importlib.util.find_spec('numpy')\nprint(found is not None and str({str(home)!r}) in str(found.origin))\n")
    (astray / "bot" / "probe.py").write_text("print('astray')\n")
    done = subprocess.run(
        [sys.executable, "-E", "-P", home / "bot" / "hosting" / "audiocraft_worker.py", "bot.probe", "more"], cwd=astray,
        env={"PYTHONPATH": str(astray)}, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [f"{home / 'models' / '__init__.py'} __main__ ['more']", "False"], done.stderr


def test_everything_that_is_installed_is_pinned_and_as_in_the_other_environment() -> None:
    files = (PROJECT / name for name in ("constraints-audiocraft.txt", "constraints.txt"))
    its, others = (dict(line.split("==") for line in file.read_text().lower().splitlines() if "==" in line) for file in files)
    wanted = (*audiocraft.LIBRARIES, *audiocraft.COMPANIONS, "audiocraft", "pip", "setuptools", "torch", "uv")
    assert not set(wanted) - set(its)

    def plain(pins: dict[str, str]) -> set[tuple[str, str]]:
        return {(re.sub(r"[-_.]+", "-", name), version) for name, version in pins.items()}

    both = {name for name, _ in plain(its)} & {name for name, _ in plain(others)}
    assert {pin for pin in plain(its) if pin[0] in both} == {pin for pin in plain(others) if pin[0] in both}

"""What hosts follow to the letter: settings and documents agree, images hold no secrets, the service's unit is well-formed."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.discord.invite import permissions_asked_for
from bot.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("docs/hosting.md", "docs/moderators.md")
NAMES = {"discord_token": "DISCORD_TOKEN", "audio_fallback": "AUDIO_FALLBACK"}  # the usual names of settings
SETTINGS = [NAMES.get(name, PREFIX + name.upper()) for name in Settings.model_fields]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def anchors(name: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text(name), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


# ---- settings


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_is_documented(setting: str) -> None:
    assert re.search(rf"^#?{setting}=", text(".env.example"), re.MULTILINE), "not in .env.example"
    assert f"| `{setting}` |" in text("docs/hosting.md")


def test_nothing_is_documented_that_is_no_setting() -> None:
    assert set(re.findall(r"^#?([A-Z_]+)=", text(".env.example"), re.MULTILINE)) == set(SETTINGS)
    rows = set(re.findall(r"^\| `([A-Z_]+)` \|", text("docs/hosting.md"), re.MULTILINE))
    assert rows == set(SETTINGS)


def test_the_example_holds_as_it_is_and_with_all_its_lines_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in (*SETTINGS, "KAPELLE_DISCORD_TOKEN"):
        monkeypatch.delenv(setting, raising=False)
    plain, all_on = tmp_path / "plain", tmp_path / "on"
    plain.write_text(text(".env.example"))
    all_on.write_text(re.sub(r"^#(?=[A-Z_]+=)", "", text(".env.example"), flags=re.MULTILINE))
    default = Settings(_env_file=None)  # type: ignore[call-arg]
    assert Settings(_env_file=plain) == default  # type: ignore[call-arg]
    shown = Settings(_env_file=all_on)  # type: ignore[call-arg]
    differing = {name for name in Settings.model_fields if getattr(shown, name) != getattr(default, name)}
    assert differing == {"soundfont", "database", "la_composer_playing"}  # whose defaults cannot be written down


# ---- documents


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    links = re.findall(r"\]\(([^)]+)\)", text(document))
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        assert target.resolve().is_file(), link
        assert not anchor or anchor in anchors(str(target.resolve().relative_to(ROOT))), link


def test_the_sections_that_are_referred_to_are_there() -> None:
    document = text("docs/hosting.md")
    numbered = set(re.findall(r"^## (\d+)\. ", document, re.MULTILINE))
    assert numbered == {str(number) for number in range(1, len(numbered) + 1)}
    assert set(re.findall(r"[Ss]ection (\d+)", document)) <= numbered


def test_the_invitation_asks_for_the_permissions_the_bot_needs() -> None:
    from bot.discord.permissions import NAMES as NEEDED
    document = text("docs/hosting.md")
    assert f"scope=bot+applications.commands&permissions={permissions_asked_for()}\n" in document
    assert f"\n{permissions_asked_for()} is the sum" in document
    table = document.split("is the sum", 1)[1].split("##", 1)[0]
    assert len(re.findall(r"^\| [A-Z]", table, re.MULTILINE)) == len(NEEDED)
    for name in NEEDED.values():
        assert name.replace("View Channel", "View Channels") in table


def test_every_metric_in_the_documents_is_there_and_the_other_way_round() -> None:
    from bot.hosting.health import Backlog, Condition, Metrics, Vitals
    from bot.jobs.records import JobState
    metrics = Metrics()
    metrics.job("done")
    metrics.retried("take")
    metrics.event("worker died")
    metrics.decoded("pocket", 10, 1.0)
    shown = metrics.exposition(Vitals(Condition.READY, Condition.READY, Backlog({JobState.QUEUED: 0}))).decode()
    counted = {name for name in re.findall(r"^# TYPE (\w+)", shown, re.MULTILINE) if not name.endswith("_created")}
    documented = set(re.findall(r"`(kapelle_\w+)`", text("docs/hosting.md")))
    assert documented == counted


# ---- the image


def instructions() -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text("Dockerfile"), flags=re.MULTILINE))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines()) if word]


def values(instruction: str) -> list[str]:
    return [rest for word, rest in instructions() if word == instruction]


def test_the_image_runs_without_privileges_and_is_watched() -> None:
    assert values("USER") == ["kapelle"]
    last_written = max(number for number, (word, _) in enumerate(instructions()) if word in ("RUN", "COPY"))
    assert [word for word, _ in instructions()].index("USER") > last_written
    assert values("VOLUME") == ["/data"]
    assert values("CMD") == ['["kapelle", "run"]']
    assert "/healthz" in values("HEALTHCHECK")[0]


def test_the_image_gets_only_what_it_is_let_have() -> None:
    lines = [line for line in text(".dockerignore").splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert allowed == {"LICENSE", "NOTICE", "README.md", "pyproject.toml", "constraints.txt", "constraints-audiocraft.txt",
                       "bot", "cogs", "models"}
    assert all((ROOT / name).exists() for name in allowed)


def test_no_secret_is_named_in_the_image() -> None:
    assert not re.search(r"token|password|secret", text("Dockerfile"), re.IGNORECASE)


def test_the_health_check_tells_fit_from_not_fit(tmp_path: Path) -> None:
    import json
    import os
    import sys
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    command = json.loads(values("HEALTHCHECK")[0].partition("CMD ")[2])
    status = 200

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None: ...

    def check(port: object) -> int:
        environment = {**os.environ, "KAPELLE_HEALTH_PORT": str(port)}
        return subprocess.run(
            [sys.executable, *command[1:]], env=environment, check=False, stderr=subprocess.DEVNULL, timeout=30).returncode

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        port = server.server_address[1]
        assert check(port) == 0
        status = 503
        assert check(port) == 1
        server.shutdown()
    assert check(port) == 1
    assert check(0) == 0


# ---- compose


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    loaded = yaml.safe_load(text("compose.yaml"))
    assert set(loaded["volumes"]) == {"kapelle-data", "kapelle-postgres"}
    return dict(loaded["services"])


def test_without_a_profile_only_the_one_for_the_cpu_starts(services: dict[str, dict[str, Any]]) -> None:
    assert {name: service.get("profiles") for name, service in services.items()} == {
        "kapelle": None, "kapelle-nvidia": ["nvidia"], "postgres": ["postgres"]}


@pytest.mark.parametrize("name", ["kapelle", "kapelle-nvidia"])
def test_a_service_has_no_more_rights_than_it_needs(services: dict[str, dict[str, Any]], name: str) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert service["stop_grace_period"] == "60s"
    assert service["env_file"] == ".env"
    assert "ports" not in service
    assert "privileged" not in service


def test_the_card_is_reserved_and_gets_its_torch(services: dict[str, dict[str, Any]]) -> None:
    (device,) = services["kapelle-nvidia"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert services["kapelle-nvidia"]["build"]["args"] == {"TORCH": "cuda"}
    assert services["kapelle"]["build"]["args"] == {"TORCH": "cpu"}


def test_compose_sets_only_what_is_a_setting(services: dict[str, dict[str, Any]]) -> None:
    assert set(services["kapelle"]["environment"]) <= set(SETTINGS)


# ---- systemd


def unit(name: str = "deploy/kapelle.service") -> ConfigParser:
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text(name))
    return parser


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here")
def test_the_unit_is_well_formed_and_hardened(tmp_path: Path) -> None:
    program = unit()["Service"]["ExecStart"].split()[0]
    here = tmp_path / "kapelle.service"
    here.write_text(text("deploy/kapelle.service").replace(program, shutil.which("true") or ""))
    verified = subprocess.run(
        ["systemd-analyze", "verify", here], capture_output=True, text=True, check=False, timeout=60)
    assert (verified.returncode, [line for line in verified.stderr.splitlines() if "kapelle" in line]) == (0, [])
    judged = subprocess.run(  # exposure in tenths, from 0 (none) to 100
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", here],
        capture_output=True, text=True, check=False, timeout=60)
    assert judged.returncode == 0, judged.stdout[-200:] + judged.stderr


def test_the_unit_does_not_start_again_over_settings_that_do_not_hold() -> None:
    from bot.cli.app import BAD_INPUT
    service = unit()["Service"]
    assert service["RestartPreventExitStatus"] == str(BAD_INPUT)
    assert service["Restart"] == "on-failure"
    assert service["KillMode"] == "mixed"

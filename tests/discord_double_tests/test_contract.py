"""The official description as a judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.discord_double import DiscordDouble, Message, description_path
from tests.discord_double_tests.small_bot import raw


@pytest.fixture
def described() -> None:
    if description_path() is None:
        pytest.skip("Discord's OpenAPI description is not beside the project, nor named by KAPELLE_DISCORD_OPENAPI")


@pytest.mark.usefixtures("described")
@pytest.mark.parametrize(
    ("method", "path", "body", "reason"),
    [
        ("POST", "/channels/{channel}/messages", {"content": "x", "colour": 1}, "body.colour: unknown field"),
        ("POST", "/channels/{channel}/messages", {"content": 5}, "body.content: int where string or null is described"),
        ("POST", "/channels/{channel}/messages", {"content": "x", "embeds": [{"titel": "t"}]}, "body.embeds.0.titel: unknown"),
        ("PUT", "/applications/{application}/commands", [{"description": "d"}], "body.0.name: missing"),
        ("GET", "/channels/{channel}/messages?limit=500", None, "query limit: 500 is outside 1 to 100"),
        ("GET", "/channels/{channel}/messages?page=2", None, "query page: unknown"),
    ],
)
async def test_requests_are_held_against_the_description(
    double: DiscordDouble, method: str, path: str, body: Any, reason: str
) -> None:
    assert double.contract_checked
    path = path.format(channel=double.channel.id, application=double.application_id)
    await raw(double, method, path, **({} if body is None else {"json": body}))
    assert any(reason in violation for violation in double.violations), double.violations


@pytest.mark.usefixtures("described")
async def test_the_doubles_own_answers_are_held_against_the_description(double: DiscordDouble) -> None:
    double.guild.name = None  # type: ignore[assignment]
    await raw(double, "GET", f"/guilds/{double.guild.id}")
    assert double.violations == [
        "GET /guilds/{guild_id}: answer 200: body.name: NoneType where string is described",
    ]


async def test_without_the_description_everything_else_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAPELLE_DISCORD_OPENAPI", str(tmp_path / "nowhere.json"))
    async with DiscordDouble(tmp_path) as double:
        assert not double.contract_checked
        status, body = await raw(double, "POST", f"/channels/{double.channel.id}/messages", json={"content": "x", "odd": 1})
        assert status == 200
        [message] = double.messages()
        assert isinstance(message, Message)
        assert body["id"] == str(message.id)
        assert double.violations == []

"""First answers to interactions, all of them: acknowledgements, messages, windows and suggestions.

Discord takes one for three seconds and once only. Where its answer to that is lost, the library would take the
interaction for unanswered, and the member would look at "thinking" for a quarter of an hour.
"""

from __future__ import annotations

import logging
from typing import Any

import aiohttp
import discord
from discord.http import MultipartParameters
from discord.webhook.async_ import AsyncWebhookAdapter, async_context

from bot.discord.retry import passing, patiently, reason

WINDOW_S = 2.5  # after the first try; the way here has taken some of the three seconds
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 0.5
ACKNOWLEDGED = 40060
UNKNOWN_INTERACTION = 10062
_UNKNOWN_WEBHOOK, _EXPIRED_TOKEN = 10015, 50027
# Nobody can be answered any more, or somebody else has: another process with the same token, a try that was thought lost.
GONE = frozenset({ACKNOWLEDGED, UNKNOWN_INTERACTION, _UNKNOWN_WEBHOOK, _EXPIRED_TOKEN})
_SUGGESTIONS = discord.InteractionResponseType.autocomplete_result.value

_log = logging.getLogger("kapelle.discord")


def acknowledge_surely() -> None:
    """Let everything that is begun in this context, and in tasks of it, answer interactions so."""
    async_context.set(_SureAdapter())  # type: ignore[no-untyped-call] # the library's constructor


class _SureAdapter(AsyncWebhookAdapter):
    """Tries a first answer again while it may arrive; that Discord has it already is as good as its saying so."""

    async def create_interaction_response(
            self, interaction_id: int, token: str, *, session: aiohttp.ClientSession, proxy: str | None = None,
            proxy_auth: aiohttp.BasicAuth | None = None, params: MultipartParameters) -> Any:
        create = super().create_interaction_response

        async def tried() -> Any:
            for file in params.files or ():
                file.reset(seek=True)
            return await create(
                interaction_id, token, session=session, proxy=proxy, proxy_auth=proxy_auth, params=params)

        suggesting = (params.payload or {}).get("type") == _SUGGESTIONS
        try:
            return await patiently(
                tried, what="answer an interaction", give_up_s=WINDOW_S, first_wait_s=FIRST_WAIT_S,
                longest_wait_s=LONGEST_WAIT_S)
        except Exception as error:
            if isinstance(error, discord.HTTPException) and error.code == ACKNOWLEDGED:
                _log.info("interaction %d is acknowledged already (code %d)", interaction_id, ACKNOWLEDGED)
            elif suggesting and (passing(error) or isinstance(error, discord.HTTPException)):
                # The member has typed on by now, and Discord has asked again.
                _log.info("suggestions did not arrive (%s)", reason(error))
            else:
                raise
            return {"interaction": {"id": str(interaction_id)}}  # what the library reads of Discord's answer

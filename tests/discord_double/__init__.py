"""A Discord on loopback: REST API version 10, gateway and CDN in one server, for end-to-end tests and the rehearsal.

The real bot connects to it over TLS; nothing of discord.py is patched. Two things make the bot arrive here instead of
at Discord: a connector whose resolver answers every name with `double.host` and `double.port`, and a TLS context that
trusts `double.ca_file`.

    async with DiscordDouble(tmp_path) as double:
        ...start the bot with double.token...
        await double.connected()
        await double.commands_synced()
        anna = double.member("Anna", locale="de")
        use = await anna.command("midi", {"title": "Clair de lune"})
        assert use.acknowledged_after_s < 0.3
        message = await use.answer()
        thread = await double.wait_for(lambda: double.threads())
        assert double.violations == []

What the double knows, it enforces: tokens, the 3 seconds and 15 minutes of an interaction (`double.clock.advance`
moves Discord's time), permissions (`double.permissions.deny(channel_id, "attach_files")`), sizes and lengths, nonces,
components V2, and Discord's own rate limits: five posts and five edits in five seconds in each channel (a test of
something else that posts much sets others by name with `double.rate_limits.set`, or has none after `.lift()`). Where
Discord's official OpenAPI description is found (beside the project in `shared/contracts`, or by
`KAPELLE_DISCORD_OPENAPI`), `double.contract_checked` is true and every request and answer is held against it. What it
finds, like a request to a route that the double lacks, is in `double.violations`.

The bot is told what Discord tells: of the active threads that it can see. A private thread stays unknown to it, and
closed, until somebody lets it in; a thread archives itself after its time (`double.clock.advance`), or by `archive`:

    thread = anna.open_thread("between us", private=True)
    await anna.command("midi", {"title": "Clair de lune"}, thread.id)
    anna.let_in(thread)

`double.add_channel("aula", "voice")` opens channels of the other kinds: stage, forum, announcement, category.

Faults are switched on by name for the next requests that match, see `Faults.next`; others concern the gateway, the
address, the server or the application:

    double.faults.next("reset_after", "POST", "/interactions/*/callback")
    double.faults.next("unavailable", times=3)
    double.faults.ban()                  # as Cloudflare: 429, an hour, until `clear`
    double.faults.reconnect()            # also drop, invalidate, refuse_connections
    double.faults.close(4004)            # and close_at_identify(4004)
    double.faults.malformed_event()
    double.reset_token()
    double.filter_words("Debussy")       # in names of threads
    double.empty_commands()              # from outside; remove_bot and invite_bot put it out of the server and back

The parts: `double` serves and is what tests hold; `rest` has the routes, `gateway` the events, `things` what exists,
`world` its state and laws, `descriptions` how Discord describes it, `forms` and `commands` Discord's rules for messages
and commands, `members` what people do, `uses` what became of it, `faults` what goes wrong, `contract` the official
description, `rate_limits`, `permissions`, `errors`, `clock` what their names say.

A new route is a function in a module of `rest` under `@route(method, template)`, the template as the official
description writes it; it returns a status and a body and raises `Refusal(code)` for everything Discord refuses; a code
that is new goes into `errors.KNOWN`. A new fault that is an answer is a line in one of the tables of `faults`; one of
the connection is a name in `faults.CONNECTION` and its case in `DiscordDouble._api`.
"""

from __future__ import annotations

from tests.discord_double.contract import description_path
from tests.discord_double.double import DiscordDouble, Request
from tests.discord_double.errors import Refusal
from tests.discord_double.faults import Fault, Faults
from tests.discord_double.members import Member
from tests.discord_double.things import Attachment, Channel, Guild, Message, Role, Thread
from tests.discord_double.uses import Use

__all__ = [
    "Attachment",
    "Channel",
    "DiscordDouble",
    "Fault",
    "Faults",
    "Guild",
    "Member",
    "Message",
    "Refusal",
    "Request",
    "Role",
    "Thread",
    "Use",
    "description_path",
]

"""What the bot must be allowed to do where it is asked, checked before a job is accepted."""

from __future__ import annotations

import discord

from bot.jobs.refusals import Reason, Refusal

NAMES = {  # as Discord shows them
    "view_channel": "View Channel",
    "send_messages": "Send Messages",
    "send_messages_in_threads": "Send Messages in Threads",
    "create_public_threads": "Create Public Threads",
    "attach_files": "Attach Files",
    "read_message_history": "Read Message History",
}
NEEDED = discord.Permissions(**dict.fromkeys(NAMES, True))  # in a channel; also what the invitation asks for
NEEDED_IN_THREADS = NEEDED & ~discord.Permissions(send_messages=True, create_public_threads=True)
_TO_POST = NEEDED & ~discord.Permissions(send_messages_in_threads=True, create_public_threads=True, read_message_history=True)


def missing(granted: discord.Permissions, needed: discord.Permissions = NEEDED) -> tuple[str, ...]:
    """Names of the needed permissions that are not granted, as Discord shows them."""
    if granted.administrator:
        return ()
    return tuple(name for flag, name in NAMES.items() if getattr(needed, flag) and not getattr(granted, flag))


def missing_of(granted: int) -> tuple[str, ...]:
    """As `missing`, of Discord's integer."""
    return missing(discord.Permissions(granted))


def check_posting(interaction: discord.Interaction) -> None:
    """Whether a take could be posted right where the member asks, in whatever kind of channel.

    Raises Refusal: GUILD_ONLY in direct messages, PERMISSIONS (missing).
    """
    if interaction.guild_id is None:
        raise Refusal(Reason.GUILD_ONLY)
    needed = NEEDED_IN_THREADS if isinstance(interaction.channel, discord.Thread) else _TO_POST
    if lacking := missing(interaction.app_permissions, needed):
        raise Refusal(Reason.PERMISSIONS, missing=lacking)


def preflight(interaction: discord.Interaction) -> None:
    """Whether results could be posted where the member asks.

    Raises Refusal: GUILD_ONLY in direct messages, CHANNEL where there are no threads, PERMISSIONS (missing) otherwise.
    Discord sends the bot's permissions with every interaction, so this asks nobody.
    """
    if interaction.guild_id is None:
        raise Refusal(Reason.GUILD_ONLY)
    if isinstance(interaction.channel, discord.Thread):
        needed = NEEDED_IN_THREADS
    elif isinstance(interaction.channel, discord.TextChannel):
        needed = NEEDED
    else:
        raise Refusal(Reason.CHANNEL, channels=())
    if lacking := missing(interaction.app_permissions, needed):
        raise Refusal(Reason.PERMISSIONS, missing=lacking)

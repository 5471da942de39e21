"""One use of the bot by a member: an interaction, from the tap to the last answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.discord_double.things import Message, User
from tests.discord_double.world import World

PING, COMMAND, COMPONENT, AUTOCOMPLETE, MODAL_SUBMIT = 1, 2, 3, 4, 5
MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE, CHOICES, MODAL = 4, 5, 6, 7, 8, 9
ACKNOWLEDGE_WITHIN_S, TOKEN_LIFE_S = 3.0, 15 * 60.0


@dataclass(eq=False)
class Use:
    """What became of an interaction.

    `kind` is the type of the callback (4 message, 5 deferred, 6 deferred update, 7 update, 8 choices, 9 modal; None:
    never acknowledged), `acknowledged_after_s` the seconds from sending the event to receiving the callback.
    """

    world: World = field(repr=False)
    id: int
    token: str = field(repr=False)
    type: int
    member: User
    channel_id: int
    created_at: float
    metadata: dict[str, Any] = field(repr=False)
    data: dict[str, Any] = field(default_factory=dict)
    source: Message | None = None  # the message of a component
    sent_at: float = 0.0  # monotonic
    kind: int | None = None
    acknowledged_after_s: float | None = None
    ephemeral: bool = False
    modal: dict[str, Any] | None = None
    choices: list[dict[str, Any]] = field(default_factory=list)
    original: Message | None = None
    answered: bool = False
    followups: list[Message] = field(default_factory=list)

    @property
    def expired(self) -> bool:
        return self.world.clock.now() - self.created_at > TOKEN_LIFE_S

    @property
    def too_late(self) -> bool:
        return self.world.clock.now() - self.created_at > ACKNOWLEDGE_WITHIN_S

    async def answer(self, timeout_s: float = 60.0) -> Message:
        """The original response once it says something; for a press, the message once the press has changed it.

        A deferred answer counts when it is filled, by an edit of @original or by the first follow-up, which takes its
        place. TimeoutError where nothing came.
        """
        await self.world.changes.wait_for(lambda: self.answered and self.original is not None, timeout_s)
        assert self.original is not None
        return self.original

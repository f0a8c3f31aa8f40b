"""Which of the interactions that arrive are handled: each one once, and only while Discord waits for an answer.

Discord delivers events at least once: after a RESUME some come again. An interaction is dead when it has no answer
after 3 s. Both are decided by its id, which contains the time of its creation (`discord_clock`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Protocol

from botctl.bot.interactions.discord_clock import DiscordClock, created_s
from botctl.core.contracts.discord_access import TOKEN_LIFE_S

ANSWER_WITHIN_S: Final = 3.0
"""Discord: Interactions > Receiving and Responding. The first answer; after it, the token lives 15 minutes."""
MAX_REMEMBERED: Final = 65_536
"""Ids in memory: 15 minutes of 72 a second. With more, the oldest go; a repetition of those is dead by its age."""


class Claims(Protocol):
    """What several processes of a bot, and one after its restart, know of each other's interactions."""

    async def claim(self, interaction: int) -> bool:
        """Claim ``interaction`` for this process. False: it was claimed before, here or elsewhere. Never raises."""
        ...


class NoClaims:
    """For a process that is alone."""

    async def claim(self, interaction: int) -> bool:  # noqa: ARG002
        return True


@dataclass(slots=True)
class UnhandledCounts:
    """Interactions so far that were not handled. ``repeated``: they had been before. ``late``: dead on arrival."""

    repeated: int = 0
    late: int = 0


class RecentIds:
    """The ids of the last 15 minutes on Discord's clock, at most ``limit``."""

    def __init__(self, limit: int = MAX_REMEMBERED) -> None:
        self._limit = limit
        self._order: deque[int] = deque()
        self._ids: set[int] = set()

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, snowflake: int) -> bool:
        """Remember ``snowflake``; whether it is new."""
        if snowflake in self._ids:
            return False
        self._ids.add(snowflake)
        self._order.append(snowflake)
        ended_s = created_s(snowflake) - TOKEN_LIFE_S
        while len(self._order) > self._limit or created_s(self._order[0]) < ended_s:
            self._ids.remove(self._order.popleft())
        return True


@dataclass(eq=False)
class Arrivals:
    """Decides for one process; ``claims`` for all of them."""

    clock: DiscordClock = field(default_factory=DiscordClock)
    claims: Claims = field(default_factory=NoClaims)
    counts: UnhandledCounts = field(default_factory=UnhandledCounts, init=False)

    def __post_init__(self) -> None:
        self.doubt = asyncio.Event()  # something came too late: is it what we believe to be Discord's time?
        self._recent = RecentIds()

    @property
    def is_alone(self) -> bool:
        """Whether no other process can handle the bot's interactions."""
        return isinstance(self.claims, NoClaims)

    def admit(self, interaction: int) -> bool:
        """Note that ``interaction`` has arrived. False: it has arrived before, and is to be ignored."""
        self.clock.learn_id(interaction)
        if self._recent.add(interaction):
            return True
        self.counts.repeated += 1
        return False

    async def claim(self, interaction: int) -> bool:
        """False: another process, or this one before a restart, has handled ``interaction``. Never raises."""
        if await self.claims.claim(interaction):
            return True
        self.counts.repeated += 1
        return False

    def note_late(self) -> None:
        """Count an interaction that is not handled because it is dead."""
        self.counts.late += 1
        self.doubt.set()

    def is_dead(self, interaction: int) -> bool:
        """Whether Discord no longer waits for the first answer to ``interaction``."""
        return self.clock.age_s(interaction) > ANSWER_WITHIN_S

"""Which process of a bot announces its verdict: the one that holds a key in Redis.

Keys: ``botctl:{<bot>}:health:speaker`` is the id of that process, and expires after `SPEAKER_S` without a renewal.
``botctl:{<bot>}:health:announced`` is what was announced last, so that the next speaker does not repeat it.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, cast

from redis.asyncio import Redis

from botctl.core.clock import Clock
from botctl.core.driver_errors.redis import reaching_redis
from botctl.core.errors import STORE_FAULTS
from botctl.core.event_loop.timeout import LoopTimeout
from botctl.core.ids import event_id
from botctl.monitor.announcements import NEVER, Announced, parse_announced

SPEAKER_S: Final = 10.0
_RELEASE_LIMIT_S: Final = 0.5
_reaching_redis: Final = reaching_redis("What was announced of the bot's verdict is not known: Redis fails ({error}).")

# KEYS: the speaker, what was announced. ARGV: our id, SPEAKER_S in ms.
_TAKE: Final = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then
  return {0, ''}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1, redis.call('GET', KEYS[2]) or ''}
"""
_RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
"""


def speaker_key(bot: str) -> str:
    return f"botctl:{{{bot}}}:health:speaker"


def announced_key(bot: str) -> str:
    return f"botctl:{{{bot}}}:health:announced"


@dataclass(eq=False)
class Speaker:
    """Whether this process ``speaks`` for the bot, and what was ``announced``. Both stay while Redis fails."""

    redis: Redis
    bot: str
    clock: Clock
    speaks: bool = False
    announced: Announced = NEVER
    id: str = field(default_factory=event_id)
    _not_before_s: float = 0.0  # until then, the last speaker may come back

    async def claim(self) -> None:
        """Become the speaker, or stay it, unless another process is. Raises one of `STORE_FAULTS`.

        What the speaker could not store is stored now: while Redis failed, or because Redis has lost it.
        """
        if not self.speaks and self.clock.monotonic() < self._not_before_s:
            return
        with _reaching_redis:
            keys = (speaker_key(self.bot), announced_key(self.bot))
            answer = self.redis.eval(_TAKE, len(keys), *keys, self.id, str(round(SPEAKER_S * 1000)))
            held, stored = await cast("Awaitable[list[Any]]", answer)
        spoke, self.speaks = self.speaks, bool(held)
        if self.speaks and not spoke:
            self.announced = parse_announced(stored)
        elif self.speaks and self.announced is not NEVER and stored != self.announced.encode():
            await self._store()

    def hold_off(self) -> None:
        """Redis does not answer. When it does again, the process that has spoken in the meantime is the speaker."""
        self._not_before_s = self.clock.monotonic() + SPEAKER_S

    async def remember(self, announced: Announced) -> None:
        """Store what is about to be announced; while Redis fails, the next `claim` does."""
        self.announced = announced
        with suppress(*STORE_FAULTS):
            await self._store()

    async def _store(self) -> None:
        with _reaching_redis:
            await self.redis.set(announced_key(self.bot), self.announced.encode())

    async def release(self) -> None:
        """Let another process speak, because this one stops."""
        if not self.speaks:
            return
        with suppress(*STORE_FAULTS, TimeoutError), _reaching_redis:
            async with LoopTimeout(_RELEASE_LIMIT_S):
                await cast("Awaitable[int]", self.redis.eval(_RELEASE, 1, speaker_key(self.bot), self.id))
        self.speaks = False

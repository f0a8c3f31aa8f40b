"""Interactions that this bot has taken, in Redis: known to all its processes, and after a restart.

One key for each, ``botctl:{<bot>}:interaction:<id>``, which expires when Discord has long forgotten the interaction. A
process claims an interaction before it does anything for it, many at once in one script. So what comes back within
seconds of a restart, even after a kill, has its key.

While Redis does not answer, a process decides alone, by its own memory. Not promised then: that an interaction which
Discord delivers again after a restart, or to another process of the bot, is handled once. It keeps its claims,
and writes them when Redis is back.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from botctl.core.config.settings import Settings
from botctl.core.contracts.discord_access import TOKEN_LIFE_S
from botctl.core.event_loop.timeout import LoopTimeout
from botctl.core.services.batching import MAX_BATCH, Batcher
from botctl.core.services.tasks import Tasks

MAX_UNWRITTEN: Final = 10_000
"""Claims of an outage that are written when it is over. Beyond this number, the oldest are not."""
_KEEP_MS: Final = int(TOKEN_LIFE_S * 1000)
_OUTAGE: Final = (
    "Redis failed ({error}): an interaction that Discord delivers again after a restart, or to another process, may be "
    "handled twice"
)
_CLAIM: Final = """
local new = {}
for i, key in ipairs(KEYS) do
  new[i] = redis.call('SET', key, 1, 'NX', 'PX', ARGV[1]) and 1 or 0
end
return new
"""
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class RedisClaims:
    """Claims interactions of ``bot``. ``deadline_s``: how long a batch may take; then this process decides alone."""

    redis: Redis
    bot: str
    tasks: Tasks
    deadline_s: float = 0.1

    def __post_init__(self) -> None:
        self._prefix = f"botctl:{{{self.bot}}}:interaction:"
        self._script = self.redis.register_script(_CLAIM)
        self._unwritten: deque[int] = deque(maxlen=MAX_UNWRITTEN)
        self._batcher = Batcher[int, bool](
            self.tasks,
            _log,
            _OUTAGE,
            send=self._write,
            answer_alone=self._claim_alone,
            probe=self._write_unwritten,
        )

    async def claim(self, interaction: int) -> bool:
        """False: ``interaction`` has been claimed before. True as well when Redis does not answer. Never raises."""
        return (await self._batcher.ask(interaction)).answer

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RedisClaims]:
        """Use Redis while the block runs."""
        try:
            with self._batcher.running():
                yield self
        finally:
            await self.tasks.cancel()

    def _claim_alone(self, interaction: int) -> bool:
        self._unwritten.append(interaction)
        return True

    async def _write(self, interactions: Sequence[int]) -> list[bool]:
        """Claim ``interactions``; which of them are new. Raises what the driver raises, and TimeoutError."""
        keys = [f"{self._prefix}{interaction}" for interaction in interactions]
        async with LoopTimeout(self.deadline_s):
            return [new == 1 for new in await self._script(keys, [_KEEP_MS])]

    async def _write_unwritten(self) -> None:
        """Write the claims of an outage, by which it is also found out whether Redis answers."""
        while True:
            batch = [self._unwritten.popleft() for _ in range(min(MAX_BATCH, len(self._unwritten)))]
            try:
                await self._write(batch)
            except BaseException:
                room = MAX_UNWRITTEN - len(self._unwritten)
                self._unwritten.extendleft(reversed(batch[-room:] if room else []))  # the newest of them
                raise
            if not self._unwritten:
                return


@asynccontextmanager
async def interaction_claims(redis: Redis, settings: Settings, tasks: Tasks) -> AsyncIterator[RedisClaims]:
    """Factory of the service."""
    async with RedisClaims(redis, settings.bot, tasks).running() as claims:
        yield claims

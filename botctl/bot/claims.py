"""Interactions that this bot has taken, in Redis: known to all its processes, and after a restart.

One key for each, ``botctl:{<bot>}:interaction:<id>``, which expires when Discord has long forgotten the interaction. A
process claims an interaction before it does anything for it, many at once in one script. So what comes back within
seconds of a restart, even after a kill, has its key.

While Redis does not answer, a process decides alone, by its own memory. Not promised then: that an interaction which
Discord delivers again after a restart, or to another process of the bot, is handled once. It keeps its claims,
and writes them when Redis is back.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from redis.asyncio import Redis

from botctl.bot.arrivals import TOKEN_LIFE_S
from botctl.core.config.settings import Settings
from botctl.core.errors import type_name
from botctl.core.services.outage import Outage
from botctl.core.services.tasks import Backoff, Tasks

MAX_BATCH: Final = 64
MAX_UNWRITTEN: Final = 10_000
"""Claims of an outage that are written when it is over. Of more, the oldest are not."""
_KEEP_MS: Final = int(TOKEN_LIFE_S * 1000)
_PROBES: Final = Backoff(first_s=0.1, limit_s=2.0)
_CLAIM: Final = """
local new = {}
for i, key in ipairs(KEYS) do
  new[i] = redis.call('SET', key, 1, 'NX', 'PX', ARGV[1]) and 1 or 0
end
return new
"""
_log = logging.getLogger(__name__)


class _Claim(NamedTuple):
    interaction: int
    new: asyncio.Future[bool]


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
        self._queue: deque[_Claim] = deque()
        self._unwritten: deque[int] = deque(maxlen=MAX_UNWRITTEN)
        self._wake = asyncio.Event()
        self._running = False
        self._outage = Outage(self.tasks, _log, _PROBES)

    async def claim(self, interaction: int) -> bool:
        """False: ``interaction`` has been claimed before. True as well when Redis does not answer. Never raises."""
        if self._outage.active or not self._running:
            self._unwritten.append(interaction)
            return True
        claim = _Claim(interaction, asyncio.get_running_loop().create_future())
        self._queue.append(claim)
        self._wake.set()
        return await claim.new

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RedisClaims]:
        """Use Redis while the block runs."""
        self.tasks.spawn(self._send_batches, name="batches")
        self.tasks.spawn(self._probe, name="probe")
        self._running = True
        try:
            yield self
        finally:
            self._running = False
            self._decide_alone(self._take())
            await self.tasks.cancel()

    async def _send_batches(self) -> None:
        while True:
            while not self._queue:
                self._wake.clear()
                await self._wake.wait()
            batch = self._take(MAX_BATCH)
            try:
                news = await self._write([claim.interaction for claim in batch])
            except Exception as error:  # noqa: BLE001  whatever fails, the commands go on
                self._begin_outage(error)
                self._decide_alone(batch + self._take())
            except asyncio.CancelledError:
                self._decide_alone(batch)
                raise
            else:
                for claim, new in zip(batch, news, strict=True):
                    _resolve(claim, new)

    async def _write(self, interactions: list[int]) -> list[bool]:
        """Claim ``interactions``; which of them are new. Raises what the driver raises, and TimeoutError."""
        keys = [f"{self._prefix}{interaction}" for interaction in interactions]
        async with asyncio.timeout(self.deadline_s):
            return [new == 1 for new in await self._script(keys, [_KEEP_MS])]

    async def _probe(self) -> None:
        """During an outage, write its claims from time to time, to find out if Redis answers."""
        while True:
            await self._outage.wait_begun()
            await self._outage.pause()
            try:
                await self._write_unwritten()
            except Exception as error:  # noqa: BLE001  still down, whatever the reason
                self._begin_outage(error)
            else:
                self._outage.end()

    async def _write_unwritten(self) -> None:
        while True:
            batch = [self._unwritten[i] for i in range(min(MAX_BATCH, len(self._unwritten)))]
            await self._write(batch)
            for _ in batch:
                self._unwritten.popleft()
            if not self._unwritten:
                return

    def _begin_outage(self, error: Exception) -> None:
        if self._running:
            self._outage.begin(
                f"Redis failed ({type_name(error)}): an interaction that Discord delivers again after a restart, or to "
                "another process, may be handled twice"
            )

    def _take(self, limit: int | None = None) -> list[_Claim]:
        return [self._queue.popleft() for _ in range(min(limit or len(self._queue), len(self._queue)))]

    def _decide_alone(self, claims: list[_Claim]) -> None:
        for claim in claims:
            self._unwritten.append(claim.interaction)
            _resolve(claim, new=True)


def _resolve(claim: _Claim, new: bool) -> None:
    if not claim.new.done():  # the caller may have been cancelled
        claim.new.set_result(new)


@asynccontextmanager
async def interaction_claims(redis: Redis, settings: Settings, tasks: Tasks) -> AsyncIterator[RedisClaims]:
    """Factory of the service."""
    async with RedisClaims(redis, settings.bot, tasks).running() as claims:
        yield claims

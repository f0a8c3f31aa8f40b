"""The ping of Redis: a write, and the identity of the database, in one round trip.

Keys: ``botctl:{<bot>}:identity`` is the id of the database, without expiry; ``botctl:{<bot>}:write-check`` is written
by each ping, and expires after a minute.
"""

from __future__ import annotations

import time
from typing import Final

from redis.asyncio import Redis

from botctl.core.clock import Clock, SystemClock
from botctl.core.driver_errors.redis import sort
from botctl.core.errors import Unreachable
from botctl.stores.identity import KnownDatabase, new_identity
from botctl.stores.redis import error_text, version_of

_CHECK_MS: Final = 60_000


def identity_key(bot: str) -> str:
    return f"botctl:{{{bot}}}:identity"


class RedisPing:
    """The ping of the service, for one process: it remembers the database that it has found."""

    def __init__(self, bot: str, clock: Clock | None = None) -> None:
        self._identity, self._write_check = identity_key(bot), f"botctl:{{{bot}}}:write-check"
        self._clock = clock or SystemClock()
        self._known = KnownDatabase()

    async def __call__(self, client: Redis) -> str:
        """The server's version and the latency. Costs one round trip, and about 100 bytes of an append-only file.

        Raises Unreachable if the server takes no write, StoreDamaged if this is not the database that was found at
        first; RedisError or OSError if the server does not answer.
        """
        began = time.perf_counter()
        async with client.pipeline(transaction=False) as pipe:
            if not self._known.trusted:
                pipe.set(self._identity, new_identity(), nx=True)
            pipe.set(self._write_check, 1, px=_CHECK_MS)
            pipe.get(self._identity)
            pipe.info("server")
            *writes, found, server = await pipe.execute(raise_on_error=False)
        took_ms = (time.perf_counter() - began) * 1000
        if refused := next((reply for reply in writes if isinstance(reply, Exception)), None):
            raise Unreachable(f"takes no write: {error_text(refused)}", hint=sort(refused).hint) from refused
        if isinstance(found, Exception):
            raise found
        known = self._known.after(found and found.decode(), at_s=self._clock.monotonic(), at=self._clock.now())
        self._known = known
        known.check()
        return f"{version_of(server)}, {took_ms:.1f} ms"

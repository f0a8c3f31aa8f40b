"""GET for what every request reads: without what the driver does around each command, which is half of its time.

The driver takes a connection from the pool for each command and gives it back, through locks, retries and metrics.
Here one connection stays. The answer still comes from the server each time.
"""

from __future__ import annotations

from typing import cast

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as RedisConnectionError


class QuickGet:
    """Reads values of ``redis``, one at a time by a connection that it keeps; the others go the usual way."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._connection: AbstractConnection | None = None
        self._in_use = False

    async def get(self, key: str) -> bytes | None:
        """The value of ``key``; None if there is none. Raises what `Redis.get` does."""
        if not self._in_use:
            self._in_use = True
            try:
                return await self._ask(key.encode())
            except (RedisConnectionError, BusyLoadingError):
                pass  # a read can be asked again; the driver says whether the server is there
            finally:
                self._in_use = False
        return cast(bytes | None, await self._redis.get(key))

    async def _ask(self, key: bytes) -> bytes | None:
        """If anything fails, or the caller is cancelled, the driver closes the connection: no answer comes late."""
        pool = self._redis.connection_pool
        if self._connection is None:
            self._connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        elif not self._connection.is_connected or await self._connection.can_read():  # the server has closed it
            await pool.ensure_connection(self._connection)
        await self._connection.send_packed_command(b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(key), key))
        value: bytes | None = await self._connection.read_response()
        return value

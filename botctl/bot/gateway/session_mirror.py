"""The files of the sessions, byte for byte in Redis: for a process that starts without them, as in a container.

``botctl:{session:<token mark>}:file:<shard>`` and ``…:mark:<shard>``. They are written together once a second and at
the stop, so what Redis has fits together; it may be a second behind the file. Both expire when no session is that old.

The mark is sealed with a key of the token, and so are all bytes before it: what another has written into Redis is not
believed. disnake decides by these guilds what members may do.
"""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from botctl.bot.gateway.resume_rules import MAX_AGE_S
from botctl.bot.gateway.session_file import MARK_BYTES, SessionFile
from botctl.core.driver_errors.redis import reaching_redis
from botctl.core.event_loop.timeout import LoopTimeout

DEADLINE_S: Final = 5.0
RENEW_S: Final = 60.0
_SEAL: Final = "sha256"
_reaching_redis: Final = reaching_redis("Redis fails ({error}), so sessions are stored in this project's folder alone.")


class _Written(NamedTuple):
    """What Redis has of a shard. ``sealed``: over all bytes of the file; ``at_s``: when, on the loop's clock."""

    file: SessionFile
    generation: int
    size: int
    sequence: int
    at_s: float
    sealed: hmac.HMAC


@dataclass(eq=False)
class SessionMirror:
    """In ``redis``. `begin` comes first. Each method raises one of `STORE_FAULTS` if Redis does not answer."""

    redis: Redis
    _token_mark: str = field(default="", init=False)
    _key: bytes = field(default=b"", init=False, repr=False)
    _written: dict[int, _Written] = field(default_factory=dict, init=False)

    def begin(self, token_mark: str, key: bytes) -> None:
        """The sessions are now those of the token with ``token_mark``; ``key``: as `sealing_key`."""
        self._token_mark, self._key = token_mark, key
        self._written.clear()

    async def read(self, shard: int) -> bytes | None:
        """The content of the file of ``shard`` with its newest mark; None if there is none that is sealed."""
        with _reaching_redis:
            async with LoopTimeout(DEADLINE_S):
                content: Any
                mark: Any
                content, mark = await self.redis.mget(self._name("file", shard), self._name("mark", shard))
        if content is None or mark is None:
            return None
        mark, seal = mark[:MARK_BYTES], mark[MARK_BYTES:]
        if not hmac.compare_digest(_seal(hmac.new(self._key, content, _SEAL), mark), seal):
            return None
        return SessionFile.with_mark(content, mark)

    async def write(self, shard: int, file: SessionFile) -> None:
        """Write what is new of ``file``. Without news, the mark alone is written every `RENEW_S`."""
        known, now_s = self._written.get(shard), asyncio.get_running_loop().time()
        if known is not None and (known.file is not file or known.generation != file.generation):
            known = None
        if known is not None and known[2:4] == (file.size, file.sequence) and now_s - known.at_s < RENEW_S:
            return
        start, size, mark = known.size if known is not None else 0, file.size, file.mark_bytes
        sealed = known.sealed.copy() if known is not None else hmac.new(self._key, digestmod=_SEAL)
        new = _Written(file, file.generation, size, file.sequence, now_s, sealed)
        added = file.read(start, size)
        sealed.update(added)
        self._written.pop(shard, None)  # until it is known to be written
        age_ms = round(MAX_AGE_S * 1000)
        with _reaching_redis:
            async with LoopTimeout(DEADLINE_S), self.redis.pipeline(transaction=True) as pipe:
                if not start:
                    pipe.set(self._name("file", shard), added)
                elif added:
                    pipe.append(self._name("file", shard), added)
                pipe.pexpire(self._name("file", shard), age_ms)
                pipe.set(self._name("mark", shard), mark + _seal(sealed, mark), px=age_ms)
                await pipe.execute()
        self._written[shard] = new

    async def forget(self, shard: int) -> None:
        """Remove what is stored of ``shard``."""
        self._written.pop(shard, None)
        with _reaching_redis:
            async with LoopTimeout(DEADLINE_S):
                await self.redis.delete(self._name("file", shard), self._name("mark", shard))

    def _name(self, what: str, shard: int) -> str:
        return f"botctl:{{session:{self._token_mark}}}:{what}:{shard}"


def _seal(sealed: hmac.HMAC, mark: bytes) -> bytes:
    whole = sealed.copy()
    whole.update(mark)
    return whole.digest()

"""The files of the sessions, byte for byte in Redis: for a process that starts without them, as in a container.

``botctl:{session:<token mark>}:file:<shard>`` and ``…:mark:<shard>``. They are written together once a second and at
the stop, so what Redis has fits together; it may be a second behind the file. Both expire when no session is that old.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from botctl.bot.resume_rules import MAX_AGE_S
from botctl.bot.session_file import SessionFile
from botctl.core.driver_errors.redis import reaching_redis
from botctl.core.event_loop.timeout import LoopTimeout

DEADLINE_S: Final = 5.0
RENEW_S: Final = 60.0
_reaching_redis: Final = reaching_redis("Redis fails ({error}), so sessions are stored in this project's folder alone.")


class _Written(NamedTuple):
    """What Redis has of a shard. ``at_s``: since when, on the loop's clock."""

    file: SessionFile
    generation: int
    size: int
    sequence: int
    at_s: float


@dataclass(eq=False)
class SessionMirror:
    """In ``redis``. Each method raises one of `STORE_FAULTS` if it does not answer."""

    redis: Redis
    _written: dict[int, _Written] = field(default_factory=dict, init=False)

    async def read(self, token: str, shard: int) -> bytes | None:
        """The content of the file of ``shard`` with its newest mark; None if there is none."""
        with _reaching_redis:
            async with LoopTimeout(DEADLINE_S):
                content: Any
                mark: Any
                content, mark = await self.redis.mget(_key(token, "file", shard), _key(token, "mark", shard))
        if content is None or mark is None:
            return None
        return SessionFile.with_mark(bytes(content), bytes(mark))

    async def write(self, token: str, shard: int, file: SessionFile) -> None:
        """Write what is new of ``file``. Without news, the mark alone is written every `RENEW_S`."""
        known, now_s = self._written.get(shard), asyncio.get_running_loop().time()
        if known is not None and (known.file is not file or known.generation != file.generation):
            known = None
        new = _Written(file, file.generation, file.size, file.sequence, now_s)
        if known is not None and known[:4] == new[:4] and now_s - known.at_s < RENEW_S:
            return
        start, size = known.size if known is not None else 0, new.size
        added = await asyncio.to_thread(file.read, start, size)
        with _reaching_redis:
            async with LoopTimeout(DEADLINE_S), self.redis.pipeline(transaction=True) as pipe:
                key, age_ms = _key(token, "file", shard), round(MAX_AGE_S * 1000)
                if not start:
                    pipe.set(key, added)
                elif added:
                    pipe.append(key, added)
                pipe.pexpire(key, age_ms)
                pipe.set(_key(token, "mark", shard), file.mark_bytes, px=age_ms)
                self._written.pop(shard, None)
                await pipe.execute()
        self._written[shard] = new

    async def forget(self, token: str, shard: int) -> None:
        """Remove what is stored of ``shard``."""
        self._written.pop(shard, None)
        with _reaching_redis:
            async with LoopTimeout(DEADLINE_S):
                await self.redis.delete(_key(token, "file", shard), _key(token, "mark", shard))


def _key(token: str, name: str, shard: int) -> str:
    return f"botctl:{{session:{token}}}:{name}:{shard}"

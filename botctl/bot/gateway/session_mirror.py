"""The files of the sessions, byte for byte in Redis: for a process that starts without them, as in a container.

``botctl:{session:<token mark>}:file:<shard>`` and ``…:mark:<shard>``. They are written together once a second and at
the stop, so what Redis has fits together; it may be a second behind the file. Both expire when no session is that old.

The mark is sealed with a key of the token, and so are all bytes before it: what another has written into Redis is not
believed. disnake decides by these guilds what members may do.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from botctl.bot.gateway.resume_rules import MAX_AGE_S
from botctl.bot.gateway.session_file import MARK_BYTES, SessionFile
from botctl.core.driver_errors.redis import reaching_redis
from botctl.core.event_loop.timeout import LoopTimeout

DEADLINE_S: Final = 5.0
RENEW_S: Final = 60.0
MAX_BATCH: Final = 32
"""Shards in one transaction."""
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


class _News(NamedTuple):
    """``added``: bytes of the file, from its start or behind those that Redis has. ``mark``: with its seal."""

    written: _Written
    added: bytes
    mark: bytes
    is_whole: bool


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

    async def write(self, files: Mapping[int, SessionFile]) -> None:
        """Write what is new of ``files``, by shard. Without news, the mark alone is written every `RENEW_S`."""
        now_s = asyncio.get_running_loop().time()
        batch: dict[int, _News] = {}
        for shard in tuple(files):
            file = files.get(shard)  # a session may end while others are written
            if file is not None and not self._is_current(shard, file, now_s):
                batch[shard] = self._take_news(shard, file, now_s)
            if len(batch) >= MAX_BATCH:
                await self._write(batch)
                batch = {}
        if batch:
            await self._write(batch)

    def _is_current(self, shard: int, file: SessionFile, now_s: float) -> bool:
        known = self._known(shard, file)
        return known is not None and known[2:4] == (file.size, file.sequence) and now_s - known.at_s < RENEW_S

    def _known(self, shard: int, file: SessionFile) -> _Written | None:
        """What Redis has of this very ``file``."""
        known = self._written.get(shard)
        return known if known is not None and known[:2] == (file, file.generation) else None

    def _take_news(self, shard: int, file: SessionFile, now_s: float) -> _News:
        """What is to be written of ``file``. Until that is done, Redis is not known to have anything of it."""
        known = self._known(shard, file)
        start, size, mark = known.size if known is not None else 0, file.size, file.mark_bytes
        sealed = known.sealed.copy() if known is not None else hmac.new(self._key, digestmod=_SEAL)
        added = file.read(start, size)
        sealed.update(added)
        self._written.pop(shard, None)
        written = _Written(file, file.generation, size, file.sequence, now_s, sealed)
        return _News(written, added, mark + _seal(sealed, mark), is_whole=not start)

    async def _write(self, batch: Mapping[int, _News]) -> None:
        """One round trip for several shards: most of what it costs does not depend on their number."""
        age_ms = round(MAX_AGE_S * 1000)
        with _reaching_redis:
            async with LoopTimeout(DEADLINE_S), self.redis.pipeline(transaction=True) as pipe:
                for shard, news in batch.items():
                    if news.is_whole:
                        pipe.set(self._name("file", shard), news.added)
                    elif news.added:
                        pipe.append(self._name("file", shard), news.added)
                    pipe.pexpire(self._name("file", shard), age_ms)
                    pipe.set(self._name("mark", shard), news.mark, px=age_ms)
                await pipe.execute()
        self._written.update({shard: news.written for shard, news in batch.items()})

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

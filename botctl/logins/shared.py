"""The logins of all processes of a token, in Redis."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from redis.asyncio import Redis

from botctl.core.contracts.logins import LoginLimit
from botctl.core.driver_errors.redis import reaching_redis
from botctl.core.event_loop.timeout import LoopTimeout
from botctl.logins.budget import ARRIVAL_MS, DAY_MS, DEFAULT_TOTAL, Budget, Login, LoginDecision
from botctl.logins.lua_script import ENTER, OBSERVE

_reaching_redis: Final = reaching_redis("Redis fails ({error}), so logins are counted in this project's file alone.")


class SharedReply(NamedTuple):
    """What the shared count says of a login. ``resets_in_ms``: until the budget resets."""

    decision: LoginDecision
    left: int
    used: int
    total: int
    resets_in_ms: int
    max_concurrency: int

    def budget(self, now_ms: int, reserve: int) -> Budget:
        """The same as a `Budget`, by a clock that says ``now_ms``."""
        return Budget(self.total, self.left, reserve, self.used, now_ms + self.resets_in_ms)


class SharedLogins(Protocol):
    """Counts the logins of all processes. Each method raises one of `STORE_FAULTS` if the store does not answer."""

    async def observe(self, limit: LoginLimit, *, resets_in_ms: int, age_ms: int = 0) -> None:
        """Store what Discord said ``age_ms`` ago, unless something newer is stored."""
        ...

    async def enter(
        self, login: Login | None, *, shard: int, reserve: int, spacing_ms: int, known: Iterable[Login], now_ms: int
    ) -> SharedReply:
        """Count ``login`` if it may be now (None: only look).

        ``known``: logins that the store may lack, by a clock that says ``now_ms``.
        """
        ...

    async def forget(self, login: Login) -> None:
        """Take back a login that was counted and not sent."""
        ...


@dataclass(frozen=True, eq=False)
class RedisLogins:
    """`SharedLogins` in ``redis``, of the token with ``fingerprint``. ``deadline_s``: how long a call may take."""

    redis: Redis
    fingerprint: str
    deadline_s: float = 2.0

    @property
    def _keys(self) -> list[str]:
        return [f"{key_prefix(self.fingerprint)}:logins", f"{key_prefix(self.fingerprint)}:limit"]

    async def observe(self, limit: LoginLimit, *, resets_in_ms: int, age_ms: int = 0) -> None:
        values = (limit.total, limit.remaining, resets_in_ms, limit.max_concurrency, age_ms, DAY_MS)
        await self._run(OBSERVE, values)

    async def enter(
        self, login: Login | None, *, shard: int, reserve: int, spacing_ms: int, known: Iterable[Login], now_ms: int
    ) -> SharedReply:
        pushed = [part for each in known for part in (_member(each), now_ms - each.at_ms)]
        own = login.id if login else ""
        values = (shard, own, reserve, spacing_ms, DAY_MS, ARRIVAL_MS, DEFAULT_TOTAL, 1, *pushed)
        wait_ms, short, left, used, total, resets_in_ms, concurrency = await self._run(ENTER, values)
        return SharedReply(LoginDecision(wait_ms, bool(short)), left, used, total, resets_in_ms, concurrency)

    async def forget(self, login: Login) -> None:
        with _reaching_redis:
            async with LoopTimeout(self.deadline_s):
                await self.redis.zrem(self._keys[0], _member(login))

    async def _run(self, script: str, values: Iterable[Any]) -> Any:
        with _reaching_redis:
            async with LoopTimeout(self.deadline_s):
                return await self.redis.register_script(script)(self._keys, list(values))


def key_prefix(fingerprint: str) -> str:
    """The beginning of all keys of a token: bots of any name that share it share them."""
    return f"botctl:{{login:{fingerprint}}}"


def _member(login: Login) -> str:
    return f"{login.shard}:{login.id}"

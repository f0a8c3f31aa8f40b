"""Ask the process that has the gateway to reconnect shards. It looks for requests in Redis once a second.

A request is in the list ``botctl:{login:<fingerprint>}:requests``, and its answer in a key of its own. It counts as
long as its key ``…:asked:<id>`` exists: for `WAIT_S`, and not after its caller has given up.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

from redis.asyncio import Redis

from botctl.core.contracts.gateway_control import GatewayControl
from botctl.core.driver_errors.redis import reaching_redis
from botctl.core.errors import STORE_FAULTS, Unreachable, UsageError
from botctl.core.ids import event_id
from botctl.logins.gate import BudgetGate
from botctl.logins.shared import key_prefix

POLL_S: Final = 1.0
WAIT_S: Final = 15.0
"""How long an answer may take."""
_LOOK_S: Final = 0.1
_reaching_redis: Final = reaching_redis("The gateway's process cannot be asked: Redis fails ({error}).")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReconnectRequest:
    """Reconnect ``shard`` (None: all of them). ``fresh``: log in instead of resuming."""

    id: str
    shard: int | None
    fresh: bool


@dataclass(frozen=True, slots=True)
class ReconnectAnswer:
    """The ``shards`` that reconnect; or ``error``, one sentence."""

    shards: tuple[int, ...] = ()
    error: str = ""


@dataclass(frozen=True, eq=False)
class RequestQueue:
    """The requests for the process that has the token with ``fingerprint``."""

    redis: Redis
    fingerprint: str

    async def ask(self, shard: int | None, *, fresh: bool, wait_s: float = WAIT_S) -> tuple[int, ...]:
        """Ask for a reconnect; returns the shards that do. Raises UsageError if there is no such shard, Unreachable."""
        request = ReconnectRequest(event_id(), shard, fresh)
        with _reaching_redis:
            try:
                async with self._listed(request, wait_s), asyncio.timeout(wait_s):
                    answer = await self._answer_to(request)
            except TimeoutError:
                sentence = f"The process that has the gateway did not answer in {wait_s:g} s."
                raise Unreachable(sentence, hint="`botctl gateway status` and `botctl monitor` show it.") from None
        if answer.error:
            raise UsageError(answer.error)
        return answer.shards

    async def override(self, *, wait_s: float = WAIT_S) -> None:
        """Let the process that waits for logins log in now. Raises Unreachable if none takes that in ``wait_s``."""
        key = self._key("override")
        with _reaching_redis:
            await self.redis.set(key, 1, px=round(wait_s * 1000))
            try:
                async with asyncio.timeout(wait_s):
                    while await self.redis.exists(key):  # noqa: ASYNC110  another process deletes it
                        await asyncio.sleep(_LOOK_S)
            except TimeoutError:
                pass
            else:
                return
            await self.redis.delete(key)
        raise Unreachable(f"No process took that in {wait_s:g} s.", hint="`botctl gateway status` shows what it does.")

    async def serve_overrides(self, gate: BudgetGate) -> None:
        """Tell ``gate`` when a person wants its logins now. Never returns; while Redis is away, it tries again."""
        while True:
            await asyncio.sleep(POLL_S)
            if gate.waiting is None:
                continue
            try:
                with _reaching_redis:
                    if await self.redis.delete(self._key("override")):
                        _log.warning("botctl gateway login: logging in now")
                        gate.override()
            except STORE_FAULTS as error:
                _log.debug("requests cannot be read: %s", error)

    async def serve(self, control: GatewayControl) -> None:
        """Do what is asked for. Never returns; while Redis is away, it tries again."""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                with _reaching_redis:
                    text: Any = await self.redis.lpop(self._key("requests"))
                    if text is None:
                        continue
                    request = _parse(text)
                    if request is None:
                        _log.warning("ignored a request from another version of botctl")
                        continue
                    if not await self.redis.delete(self._key(f"asked:{request.id}")):
                        continue  # no one waits for it any more, and perhaps it was asked again
                    answer = json.dumps(asdict(await _reconnect(control, request)))
                    await self.redis.set(self._key(f"answer:{request.id}"), answer, px=round(WAIT_S * 1000))
            except STORE_FAULTS as error:
                _log.debug("requests cannot be read: %s", error)

    @asynccontextmanager
    async def _listed(self, request: ReconnectRequest, wait_s: float) -> AsyncIterator[None]:
        """Ask for ``request``, for ``wait_s`` at most, and no longer if the block fails or is cancelled."""
        asked, wait_ms = self._key(f"asked:{request.id}"), round(wait_s * 1000)
        try:
            await self.redis.set(asked, 1, px=wait_ms)
            await self.redis.rpush(self._key("requests"), json.dumps(asdict(request)))
            await self.redis.pexpire(self._key("requests"), wait_ms)
            yield
        except BaseException:
            with suppress(*STORE_FAULTS), _reaching_redis:
                await self.redis.delete(asked)
            raise

    async def _answer_to(self, request: ReconnectRequest) -> ReconnectAnswer:
        while True:
            text: Any = await self.redis.getdel(self._key(f"answer:{request.id}"))
            if text is not None:
                values = json.loads(text)
                return ReconnectAnswer(tuple(values["shards"]), values["error"])
            await asyncio.sleep(_LOOK_S)

    def _key(self, name: str) -> str:
        return f"{key_prefix(self.fingerprint)}:{name}"


async def _reconnect(control: GatewayControl, request: ReconnectRequest) -> ReconnectAnswer:
    shards = control.shard_ids if request.shard is None else (request.shard,)
    if missing := set(shards) - set(control.shard_ids):
        return ReconnectAnswer(error=f"there is no shard {min(missing)}; there are {_range(control.shard_ids)}.")
    how = "logging in again" if request.fresh else "reconnecting"
    _log.warning("botctl gateway restart: %s, shard %s", how, _range(shards))
    # at once: with a dead network each of them waits for a while, and all of them longer than the asker
    await asyncio.gather(*(control.reconnect(shard, fresh=request.fresh) for shard in shards))
    return ReconnectAnswer(shards)


def _range(shards: Iterable[int]) -> str:
    numbers = sorted(shards)
    return f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else ", ".join(map(str, numbers))


def _parse(text: bytes) -> ReconnectRequest | None:
    try:
        request = ReconnectRequest(**json.loads(text))
    except (ValueError, TypeError):
        return None
    fits = isinstance(request.id, str) and (request.shard is None or type(request.shard) is int)
    return request if fits and isinstance(request.fresh, bool) else None

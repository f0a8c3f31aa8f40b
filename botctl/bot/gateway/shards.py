"""All shards of the bot in this process: one task each, and one code path for one shard and for many.

disnake's own runner starts shards one after the other, 5 s apart, ends all of them for one, and swallows cancellations.
So `Bot.connect` runs these, over disnake's websocket and its connection state for shards. They stand in disnake's
private table of shards, so that ``bot.latencies``, ``bot.get_shard`` and ``bot.change_presence`` work.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

import disnake

from botctl.bot.gateway.hearing import PROBE_S
from botctl.bot.gateway.shard import GatewayShard
from botctl.bot.gateway.shard_rules import END_SESSION, KEEP_SESSION, capacity_notice
from botctl.bot.gateway.shard_sessions import NoStoredSessions, ShardSessions
from botctl.core.clock import Clock, SystemClock
from botctl.core.contracts.events import GatewayChanged
from botctl.core.contracts.logins import LoginGate, LoginLimit, OpenGate
from botctl.core.contracts.shards import ShardState, ShardStatus

TABLE: Final = "_AutoShardedClient__shards"
"""disnake's private table: shard number to an object with `id`, `ws`, `close`, `disconnect` and `reconnect`."""
RELOGIN_S: Final = (1.0, 5.0)
"""Discord: Gateway > Resuming. The pause before IDENTIFY when a session has ended, at random."""
_log = logging.getLogger(__name__)


class Shards:
    """The shards of ``bot``, disnake's client. ``wanted``: how many; None for Discord's recommendation.

    ``sessions``: it has the sessions to resume at the start, and hears what becomes of those of this process.
    ``probe_s``: as in `HearingProbe`.
    """

    def __init__(
        self,
        bot: Any,
        gate: LoginGate,
        *,
        publish: Callable[[GatewayChanged], None],
        wanted: int | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
        relogin_s: tuple[float, float] = RELOGIN_S,
        sessions: ShardSessions | None = None,
        probe_s: float = PROBE_S,
    ) -> None:
        self.bot, self.gate, self.relogin_s, self.probe_s = bot, gate, relogin_s, probe_s
        self.clock, self.random = clock or SystemClock(), random or Random()  # noqa: S311  it spreads attempts
        self.count = self.recommended = 0
        self.url = ""
        self.closing_code = END_SESSION
        self._wanted, self._publish, self.sessions = wanted, publish, sessions or NoStoredSessions()
        self._all: tuple[GatewayShard, ...] = ()
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns: tuple[asyncio.Lock, ...] = ()
        self._were_up: set[int] = set()
        self._awaiting_guilds: set[int] = set()
        self._closed = asyncio.Event()

    async def run(self) -> None:
        """Run all shards until `close`. Raises the first error that ends them, as `GatewayShard.run`.

        It may be called again after that: with a token that was replaced.
        """
        limit = await self.ask()
        getattr(self.bot, TABLE).clear()
        self._tasks.clear()
        self.count = self._wanted or self.recommended
        self.bot.shard_count = self.bot._connection.shard_count = self.count  # noqa: SLF001
        self.bot._connection.shard_ids = range(self.count)  # noqa: SLF001
        self._turns = tuple(asyncio.Lock() for _ in range(max(1, limit.max_concurrency)))
        sessions = await self.sessions.begin(self.count, self.bot.http.token)
        self._all = tuple(GatewayShard(number, self, sessions.get(number)) for number in range(self.count))
        _log.info("%s: Discord recommends %s, and %s logins are left", self, self.recommended, limit.remaining)
        try:
            async with asyncio.TaskGroup() as group:
                for shard in self._all:
                    self._tasks.add(group.create_task(shard.run(), name=f"bot shard {shard.id}"))
                if self._closed.is_set():
                    self._cancel()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    def __str__(self) -> str:
        return "1 shard" if self.count == 1 else f"{self.count} shards"

    async def ask(self) -> LoginLimit:
        """Ask Discord how many shards it recommends and how many logins are left, and tell the gate."""
        params = self.bot.gateway_params
        self.recommended, self.url, told = await self.bot.http.get_bot_gateway(
            encoding=params.encoding, zlib=params.zlib
        )
        resets_at = datetime.now(UTC) + timedelta(milliseconds=told["reset_after"])
        limit = LoginLimit(told["total"], told["remaining"], resets_at, told["max_concurrency"])
        if limit.remaining <= 0 and isinstance(self.gate, OpenGate):  # that counts nothing, and would cost the token
            raise disnake.SessionStartLimitReached(disnake.SessionStartLimit(told))
        await self.gate.limits(limit)
        return limit

    @property
    def is_filling(self) -> bool:
        """As in `ShardHost`. disnake keeps the guilds in this queue until the bot is ready."""
        return hasattr(self.bot._connection, "_ready_state")  # noqa: SLF001

    @contextlib.asynccontextmanager
    async def turn(self, shard: int) -> Any:
        """As in `ShardHost`: other connections need not wait, open, for the login of this one."""
        async with self._turns[shard % len(self._turns)]:
            yield

    async def enter_gate(self, shard: int) -> None:
        """As `GatewayShard.enter_gate`."""
        await self._all[shard].enter_gate()

    def established(self, shard: int, *, resumed: bool) -> None:
        """As `GatewayShard.established`. The bot can be ready when it was called for every shard."""
        self._all[shard].established(resumed=resumed)
        self._were_up.add(shard)
        if len(self._were_up) == self.count:
            self.bot._connection.shards_launched.set()  # noqa: SLF001  disnake's `_delay_ready` waits for it

    def changed(self, shard: GatewayShard, change: str) -> None:
        """As in `ShardHost`."""
        if change == "opened":
            getattr(self.bot, TABLE)[shard.id] = shard
            self.bot.ws = shard.ws if self.count == 1 else None  # as in disnake's client of one shard
            return
        if change == "connected":
            self._awaiting_guilds.add(shard.id)
        if change == "disconnected":
            self._awaiting_guilds.discard(shard.id)
            self.bot.dispatch("disconnect")
            self.bot.dispatch("shard_disconnect", shard.id)
            if shard.progress() is None:
                self.sessions.end(shard.id)
        self._publish_change(shard, change)

    def restore(self, shard: int) -> None:
        """As in `ShardHost`."""
        stored = self.sessions.take(shard)
        if stored is not None:
            guilds = stored.complete()
            self.bot._connection.restore(stored.ready_now() | {"__shard_id__": shard}, guilds)  # noqa: SLF001
            _log.info("shard %s has the guilds of the process before this one: %d", shard, len(guilds))

    def announce_ready(self) -> None:
        """Publish that the guilds of the shards with a new session have arrived."""
        for number in sorted(self._awaiting_guilds):
            self._publish_change(self._all[number], "ready")
        self._awaiting_guilds.clear()

    def _publish_change(self, shard: GatewayShard, change: str) -> None:
        status, close = shard.status(0), shard.last_close if change == "disconnected" else None
        self._publish(
            GatewayChanged(
                shard=shard.id,
                state=change,
                latency_ms=status.latency_ms,
                code=close.code if close else None,
                reason=close.reason if close else "",
            )
        )

    @property
    def has_been_up(self) -> bool:
        """Whether any shard has received events."""
        return bool(self._were_up)

    def statuses(self) -> tuple[ShardStatus, ...]:
        """Every shard as it is now; none before the start."""
        guilds = self._guilds()
        return tuple(shard.status(guilds[shard.id]) for shard in self._all)

    def waits_for_login(self) -> bool:
        """Whether a shard waits until it may log in."""
        return any(shard.state is ShardState.WAITING for shard in self._all)

    def notice(self) -> str:
        """As `capacity_notice`."""
        if not self.count:
            return ""
        return capacity_notice(self._guilds(), self.count, self.recommended, automatic=self._wanted is None)

    def _guilds(self) -> Counter[int]:
        """The number of guilds by shard. Discord: Gateway > Sharding."""
        return Counter((guild.id >> 22) % self.count for guild in self.bot.guilds)

    def available_guilds(self, shard: int) -> list[int]:
        """As in `ShardHost`."""
        return [
            guild.id for guild in self.bot.guilds if (guild.id >> 22) % self.count == shard and not guild.unavailable
        ]

    async def restart(self, shard: int, *, fresh: bool) -> None:
        """As `GatewayShard.restart`."""
        await self._all[shard].restart(fresh=fresh)

    async def close(self, *, keep_sessions: bool = False) -> None:
        """End all connections. ``keep_sessions``: so that another process can resume them."""
        self.closing_code = KEEP_SESSION if keep_sessions else END_SESSION
        self._closed.set()
        self._cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        getattr(self.bot, TABLE).clear()

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

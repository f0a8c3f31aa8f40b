"""One shard: it connects, logs in or resumes, reads events, and starts again when the connection is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any, Final, NoReturn, Protocol

from disnake.gateway import ReconnectWebSocket

from botctl.bot.gateway.hearing import HearingProbe, Remedy, probe_hearing
from botctl.bot.gateway.shard_rules import (
    CLOSED_HERE,
    DEAF,
    END_SESSION,
    HEALTHY_S,
    KEEP_SESSION,
    MAX_UNANSWERED,
    Loss,
    is_fatal,
    is_fault,
    loss_of,
    pause_s,
    resume_url,
)
from botctl.bot.gateway.shard_sessions import ShardSessions
from botctl.bot.gateway.socket import GatewaySocket
from botctl.core.clock import Clock
from botctl.core.contracts.logins import LoginGate
from botctl.core.contracts.shards import Hearing, ShardClose, ShardSession, ShardState, ShardStatus
from botctl.core.errors import BotctlError
from botctl.core.event_loop.tasks import create_watched_task, end_task

CONNECT_S: Final = 30.0  # for a connection and HELLO
ANSWER_S: Final = 60.0  # from IDENTIFY or RESUME to READY or RESUMED
_SILENT_S: Final = 55.0  # disnake gives a connection up after 60 s without anything
_log = logging.getLogger(__name__)


class ShardHost(Protocol):
    """What all shards have in common."""

    bot: Any  # disnake's client
    gate: LoginGate
    clock: Clock
    random: Random
    count: int
    url: str  # of the gateway
    relogin_s: tuple[float, float]  # as in `pause_s`
    closing_code: int  # with which the bot closes its connections
    probe_s: float  # as in `HearingProbe`
    sessions: ShardSessions

    @property
    def is_filling(self) -> bool:
        """Whether disnake still waits for guilds, of which no listener hears yet."""
        ...

    def turn(self, shard: int) -> AbstractAsyncContextManager[Any]:
        """Entered by one shard of each login key at a time, until it has sent IDENTIFY."""
        ...

    def available_guilds(self, shard: int) -> Iterable[int]:
        """The guilds of ``shard`` that are known and not in an outage."""
        ...

    def restore(self, shard: int) -> None:
        """Give disnake the guilds that the process before this one had."""
        ...

    def changed(self, shard: GatewayShard, change: str) -> None:
        """Hear that ``shard`` is ``opened``, ``connected``, ``resumed`` or ``disconnected``."""
        ...


class GatewayShard:
    """A shard, in the place of disnake's: `id`, `ws`, `close`, `disconnect` and `reconnect` are as there."""

    ws: GatewaySocket  # the newest; none before the first connection

    def __init__(self, number: int, host: ShardHost, session: ShardSession | None = None) -> None:
        self.id = number
        self.session = session  # None: the next connection logs in
        self._restores = session is not None  # with the first event: it comes when Discord has accepted the RESUME
        self.up = asyncio.Event()
        self.last_close: ShardClose | None = None
        self._host = host
        self.state = ShardState.WAITING
        self._since = host.clock.now()
        self._retry_at: datetime | None = None
        self._current: GatewaySocket | None = None  # of this attempt
        self._codes: tuple[int | None, int | None] = None, None  # its close codes, this side's and Discord's
        self._enabled = asyncio.Event()
        self._enabled.set()
        self._wanted_loss: Loss | None = None  # why this side ends the connection, if it does
        self._restart: asyncio.Task[None] | None = None
        self._probe = HearingProbe(host.probe_s)
        self._event = ""  # the newest one that disnake knows
        self._losses = 0  # in a row, without a healthy connection
        self._unanswered = 0  # RESUMEs in a row
        self._answer = asyncio.timeout(None)
        self._up_since_s = self._heard_s = 0.0
        self._event_s: float | None = None  # when the last event came

    async def run(self) -> NoReturn:
        """Keep the shard connected. Raises what ends all shards: a fatal close code, or an error of the gate."""
        while True:
            await self._enabled.wait()
            try:
                await self._connect()
            except Exception as error:
                loss = self._note_loss(error)
                if isinstance(error, BotctlError) or is_fatal(error):
                    raise
            if wait_s := pause_s(self._losses, loss, self._host.relogin_s, self._host.random):
                self._retry_at = self._host.clock.now() + timedelta(seconds=wait_s)
                await asyncio.sleep(wait_s)
                self._retry_at = None

    async def _connect(self) -> NoReturn:
        """Connect, log in or resume, and read events. Raises how that ends."""
        session = self.session
        async with AsyncExitStack() as turn:
            if session is None:
                self.state = ShardState.WAITING
                await turn.enter_async_context(self._host.turn(self.id))
                await self._host.gate.prepare(self.id, self._host.count)
            self.state = ShardState.CONNECTING
            self._current, self._codes = None, (None, None)
            self.ws = self._current = ws = await self._open(session)
            self._host.changed(self, "opened")
            code = KEEP_SESSION
            try:
                await self._serve(ws, session, turn)
            except asyncio.CancelledError:
                code = self._host.closing_code
                raise
            finally:
                self._codes = ws.own_code, ws.socket.close_code
                await ws.close(code)

    async def _open(self, session: ShardSession | None) -> GatewaySocket:
        host = self._host
        async with asyncio.timeout(CONNECT_S):
            ws = await GatewaySocket.from_client(
                host.bot,
                gateway=host.url if session is None else resume_url(session.url, host.url, self._losses),
                shard_id=self.id,
                session=session.id if session else None,
                sequence=session.sequence if session else None,
            )
        await self._require_wanted(ws, session)
        ws.watch(self._before_event, partial(host.sessions.mark_begun, self.id), partial(host.sessions.mark, self.id))
        return ws

    async def _require_wanted(self, ws: GatewaySocket, session: ShardSession | None) -> None:
        """Close ``ws`` and raise, if `restart` or `disconnect` came while it opened: they found nothing to close.

        The next attempt is made at once, since the network works. A login waits for its turn without a connection.
        """
        if self.session is not session or not self._enabled.is_set():
            await ws.close()
            self._wanted_loss, self._losses = CLOSED_HERE, 0
            raise ReconnectWebSocket(self.id)

    def _before_event(self, event: str, data: Any, text: str) -> bool:
        """Store an event before disnake gets it. The first one of a session of another process restores the guilds.

        Returns whether listeners may hear of it.
        """
        self._event = event
        restores, self._restores = self._restores, False
        if restores and event != "READY":
            try:
                self._host.restore(self.id)
            except Exception:  # noqa: BLE001  disnake may raise anything; a login brings the guilds
                _log.exception("shard %s logs in: disnake cannot restore its guilds", self.id)
                self._restart = create_watched_task(self.restart(fresh=True), name=f"bot shard {self.id} logs in")
        is_heard = event != "GUILD_CREATE" or not self._host.is_filling
        self._host.sessions.record(self.id, event, data, text, is_heard=is_heard)
        return is_heard

    async def _serve(self, ws: GatewaySocket, session: ShardSession | None, turn: AsyncExitStack) -> NoReturn:
        """Log in or resume, and read until the connection is lost. Leaves ``turn`` when IDENTIFY is sent."""
        loop = asyncio.get_running_loop()
        reading = asyncio.create_task(self._read(ws), name=f"bot shard {self.id} reads")
        probing = create_watched_task(self._probe_hearing(ws), name=f"bot shard {self.id} asks")
        try:
            async with asyncio.timeout(None) as self._answer:
                if session is None:
                    await _first_to_end(asyncio.create_task(ws.log_in()), reading)
                    await turn.aclose()
                else:
                    self._unanswered += 1
                    self.state = ShardState.RESUMING
                    await ws.resume_session()
                if not self.up.is_set():
                    self._answer.reschedule(loop.time() + ANSWER_S)
                await reading
                raise AssertionError("reading ends with an error")
        finally:
            await end_task(probing)
            await end_task(reading)

    async def _read(self, ws: GatewaySocket) -> NoReturn:
        time = asyncio.get_running_loop().time
        sequence = ws.sequence
        self._heard_s = time()
        while True:
            self._event = ""
            await ws.poll_event()
            self._heard_s = time()
            if ws.sequence != sequence:
                sequence, self._event_s = ws.sequence, self._heard_s
                if self.up.is_set():
                    self._probe.hear(self._event, self._heard_s)

    async def _probe_hearing(self, ws: GatewaySocket) -> NoReturn:
        await self.up.wait()
        host = self._host
        guilds, prepare = partial(host.available_guilds, self.id), partial(host.gate.prepare, self.id, host.count)
        await probe_hearing(self._probe, ws, guilds, prepare=prepare, reconnect=self._reconnect_deaf)

    def _reconnect_deaf(self, remedy: Remedy) -> None:
        work = self._close(DEAF, fresh=remedy is Remedy.LOGIN)
        self._restart = create_watched_task(work, name=f"bot shard {self.id} reconnects")  # it ends the probe's task

    async def enter_gate(self) -> None:
        """Wait until this shard may log in. Everything that sends IDENTIFY calls it right before."""
        self.state = ShardState.WAITING
        await self._host.gate.enter(self.id, self._host.count)
        self.state = ShardState.IDENTIFYING

    def established(self, *, resumed: bool) -> None:
        """Hear that Discord has sent READY or RESUMED."""
        self._answer.reschedule(None)
        self._unanswered, self._up_since_s = 0, asyncio.get_running_loop().time()
        self._probe.begin(self._up_since_s)
        if not resumed:
            ws, now = self.ws, self._host.clock.now()
            self.session = ShardSession(ws.session_id or "", ws.sequence or 0, ws.resume_gateway or "", now)
        self.up.set()
        self.state, self._since = ShardState.READY, self._host.clock.now()
        self._host.changed(self, "resumed" if resumed else "connected")

    def _note_loss(self, error: Exception) -> Loss:
        """Record the end of a connection, or of an attempt to make one, and decide about the session."""
        now_s, was_up, (own_code, code) = asyncio.get_running_loop().time(), self.up.is_set(), self._codes
        is_silent = was_up and now_s - self._heard_s >= _SILENT_S
        loss = self._wanted_loss or loss_of(error, own_code=own_code, code=code, silent=is_silent)
        self._losses = 1 if was_up and now_s - self._up_since_s >= HEALTHY_S else self._losses + 1
        self.session = self.progress() if loss.resumes and self._unanswered < MAX_UNANSWERED else None
        self._wanted_loss = None
        self.last_close = ShardClose(code=loss.code, reason=loss.reason, at=self._host.clock.now())
        self._log_close(self.last_close, error, expected=loss.expected)
        self.up.clear()
        self.state = ShardState.DISCONNECTED if self._enabled.is_set() else ShardState.CLOSED
        if was_up:
            self._since = self.last_close.at
            self._host.changed(self, "disconnected")
        return loss

    def _log_close(self, close: ShardClose, error: Exception, *, expected: bool) -> None:
        """Log the end of a connection in one line; the traceback is for those who look for it."""
        what = "has lost its connection to Discord" if self.up.is_set() else "could not connect to Discord"
        level = logging.ERROR if is_fault(error) else logging.INFO if expected else logging.WARNING
        _log.log(level, "shard %s %s: %s", self.id, what, close, exc_info=error if is_fault(error) else None)
        _log.debug("shard %s", self.id, exc_info=error)

    def status(self, guilds: int) -> ShardStatus:
        """``guilds``: how many of its guilds this process knows."""
        return ShardStatus(
            id=self.id,
            state=self.state,
            since=self._since,
            latency_ms=self._latency_ms(),
            guilds=guilds,
            last_event_at=self._last_event_at(),
            last_close=self.last_close,
            retry_at=self._retry_at,
            session_started_at=self.session.started_at if self.session is not None else None,
            hearing=self._hearing(),
        )

    def _hearing(self) -> Hearing | None:
        is_known = self.state is ShardState.READY or self._probe.deaf
        return self._probe.status(asyncio.get_running_loop().time()) if is_known else None

    def _latency_ms(self) -> float | None:
        latency_s = self.ws.latency if self.up.is_set() else float("inf")
        return latency_s * 1000 if 0 <= latency_s < float("inf") else None

    def _last_event_at(self) -> datetime | None:
        if self._event_s is None:
            return None
        return self._host.clock.now() - timedelta(seconds=asyncio.get_running_loop().time() - self._event_s)

    def progress(self) -> ShardSession | None:
        """The session as it is now, with the number of the last event."""
        if self.session is None or self._current is None:
            return self.session
        sequence = self._current.sequence
        return self.session if sequence is None else replace(self.session, sequence=sequence)

    async def restart(self, *, fresh: bool) -> None:
        """Close the connection, so that another one is opened. ``fresh``: with a new session, which costs a login."""
        await self._close(CLOSED_HERE, fresh=fresh)

    async def _close(self, why: Loss, *, fresh: bool) -> None:
        self.session = None if fresh else self.session
        if self._current is not None and self._current.open:
            self._wanted_loss = why
            await self._current.close(END_SESSION if fresh else KEEP_SESSION)

    async def disconnect(self) -> None:
        """End the session, and stay without a connection until `reconnect`."""
        self._enabled.clear()
        await self.restart(fresh=True)

    async def reconnect(self) -> None:
        """Connect again after `disconnect`, and wait until Discord sends events."""
        self._enabled.set()
        await self.up.wait()


async def _first_to_end(work: asyncio.Task[Any], reading: asyncio.Task[Any]) -> None:
    """Wait until ``work`` has ended. Raises its error, or that of ``reading`` if it ends before."""
    try:
        await asyncio.wait({work, reading}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            reading.result()
        await work
    finally:
        await end_task(work)

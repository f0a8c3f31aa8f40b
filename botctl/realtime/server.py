"""The realtime server: a service that streams the events of a bot, of all its processes, to whoever has a key."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from botctl.core.clock import Clock
from botctl.core.config.settings import RealtimeSettings, Settings
from botctl.core.contracts.api_keys import ApiKeys
from botctl.core.contracts.event_log import EventLog
from botctl.core.contracts.protocols import Auditor, Limiter, StatusSource
from botctl.core.contracts.throttle import API_SCOPES, Scope, address_subject, parse
from botctl.core.errors import ConfigError, Unreachable
from botctl.core.processes.runtime import Runtime
from botctl.core.services.tasks import Backoff, Tasks
from botctl.core.telemetry.metrics import Metrics
from botctl.realtime.connections import ConnectionLimits, ConnectionRegistry
from botctl.realtime.http import PATH, Pages, turned_away
from botctl.realtime.hub import Hub
from botctl.realtime.liveness import Deadlines
from botctl.realtime.protocol import VERSION, message
from botctl.realtime.session import MESSAGES, RealtimeSession, SessionLimits
from botctl.realtime.socket import WRITE_LIMIT_BYTES, Socket, SocketLimits, text_frame

NAME: Final = "realtime"
OPEN_S: Final = 10.0  # for the handshake, or for a page
GRACE_S: Final = 2.0  # from a close frame to the abort
CONNECTS: Final = "realtime.connect"
"""The name under which connects are counted by the limiter."""
_MAX_FRAMES: Final = 16  # read ahead of the one that is being answered
_RETRY: Final = Backoff(first_s=0.1, limit_s=2.0)

_log = logging.getLogger(__name__)
_library_log = logging.getLogger(f"{__name__}.websockets")
_library_log.setLevel(logging.WARNING)  # it tells of each connection, and of each GET as of a failed one


@dataclass(eq=False)
class Realtime:
    """A server that runs. ``url`` is where clients connect."""

    url: str
    connections: ConnectionRegistry
    hub: Hub

    async def ping(self) -> str:
        """The health of the service: who is connected."""
        return f"{self.url}, {len(self.connections.clients)} connections, {self.hub.subscriptions} subscriptions"


@asynccontextmanager
async def realtime_server(
    *,
    settings: Settings,
    runtime: Runtime,
    log: EventLog,
    keys: ApiKeys,
    limiter: Limiter,
    auditor: Auditor,
    metrics: Metrics,
    status: StatusSource,
    clock: Clock,
    tasks: Tasks,
) -> AsyncIterator[Realtime]:
    """Factory of the service.

    Raises:
        ConfigError: its address is taken, or is none of this machine's.
    """
    mine = settings.realtime
    deadlines = Deadlines(mine.auth_s, mine.stall_s, mine.heartbeat_s)
    connection_limits = ConnectionLimits(mine.connections, mine.connections_per_key, mine.connections_per_address)
    socket_limits = SocketLimits(mine.queue_bytes, GRACE_S)
    connections = ConnectionRegistry(connection_limits, socket_limits, deadlines, auditor=auditor, clock=clock)
    hub = Hub(log, tasks, recover=mine.recover, recover_bytes=mine.queue_bytes // 2)
    pages = Pages(status, metrics, draining=lambda: connections.closed)
    session_limits = SessionLimits(mine.topics, parse(mine.message_throttle, scopes=API_SCOPES))
    connects = parse(mine.connect_throttle, scopes=API_SCOPES)
    limiter.declare("realtime", {CONNECTS: connects, MESSAGES: session_limits.messages})
    hello = text_frame(_hello(mine))

    async def request(connection: ServerConnection, asked: Request) -> Response | None:
        assert isinstance(connection, Socket)  # noqa: S101  for mypy: it is what create_connection makes
        if (response := await pages.answer(asked)) is not None:
            return response
        # Requests are counted and not sockets: a socket that asks for nothing is bounded by the registry, and would
        # cost a way to Redis here; and what asks for pages, a probe maybe, must not be locked out by what clients do.
        subjects = {Scope.ADDRESS: address_subject(connection.address)}
        if connections.crowded(connection) or not (await limiter.check_subjects(CONNECTS, subjects, connects)).allowed:
            connections.turn_away()
            return turned_away()
        return None

    async def converse(connection: ServerConnection) -> None:
        assert isinstance(connection, Socket)  # noqa: S101
        connection.push(hello)
        try:
            await RealtimeSession(connection, hub, keys, limiter, connections, session_limits).run()
        finally:
            connection.abort_later()
            await asyncio.shield(connection.connection_lost_waiter)  # the library's own close may wait for ever

    server = await _listen(mine, connections, request, converse)
    _watch(metrics, connections, hub)
    tasks.spawn(hub.run, name="hub", restart=_RETRY)
    tasks.spawn(connections.sweep, name="deadlines", restart=_RETRY)
    tasks.spawn(partial(connections.hear_revocations, log), name="revocations", restart=_RETRY)
    tasks.spawn(partial(connections.recheck, keys, failed=_recheck_failed), name="keys", restart=_RETRY)
    url = _url(mine.host, server)
    try:
        runtime.publish(NAME, pid=os.getpid(), address=url)
        yield Realtime(url, connections, hub)
    finally:
        server.close(close_connections=False)
        runtime.unpublish(NAME)
        await connections.drain(mine.drain_s)
        await server.wait_closed()


async def _listen(mine: RealtimeSettings, connections: ConnectionRegistry, request: object, converse: object) -> Server:
    try:
        return await serve(
            converse,  # type: ignore[arg-type]
            mine.host,
            mine.port,
            compression=None,
            process_request=request,  # type: ignore[arg-type]
            create_connection=partial(Socket, observer=connections),  # type: ignore[arg-type]
            open_timeout=OPEN_S,
            ping_interval=None,  # ours: see socket.py
            close_timeout=GRACE_S,
            max_size=mine.message_bytes,
            max_queue=_MAX_FRAMES,
            write_limit=WRITE_LIMIT_BYTES,
            server_header=None,
            logger=_library_log,
        )
    except OSError as error:
        raise ConfigError(
            f"The realtime server cannot listen on {mine.host} port {mine.port}: {error.strerror or error}.",
            hint="Set realtime.host and realtime.port to what is free, or port to 0.",
        ) from error


def _hello(mine: RealtimeSettings) -> bytes:
    limits = {"message_bytes": mine.message_bytes, "topics": mine.topics, "recover": mine.recover}
    return message("hello", protocol=VERSION, heartbeat_s=mine.heartbeat_s, auth_s=mine.auth_s, limits=limits)


def _url(host: str, server: Server) -> str:
    port = server.sockets[0].getsockname()[1]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"ws://{shown}:{port}{PATH}"


def _recheck_failed(error: Unreachable) -> None:
    _log.warning("keys of open connections could not be looked up: %s", error)


def _watch(metrics: Metrics, connections: ConnectionRegistry, hub: Hub) -> None:
    at_door, counts = connections.counts, hub.counts
    metrics.watch_connections(lambda: len(connections.clients))
    for name, help_text, read in (
        ("botctl_realtime_subscriptions", "Subscriptions to topics.", lambda: hub.subscriptions),
        ("botctl_realtime_held_bytes", "Kept for clients that have not taken it.", lambda: connections.held_bytes),
        ("botctl_realtime_stalled", "Clients for whom something waits.", lambda: connections.stalled),
        ("botctl_realtime_opened_total", "Connections that were opened.", lambda: at_door.opened),
        ("botctl_realtime_turned_away_total", "Connections refused at the door.", lambda: at_door.turned_away),
        ("botctl_realtime_events_total", "Events read from the log.", lambda: counts.events),
        ("botctl_realtime_deliveries_total", "Events handed to clients.", lambda: counts.deliveries),
        ("botctl_realtime_gaps_total", "Times a client was told of lost events.", lambda: counts.gaps),
        ("botctl_realtime_recovered_total", "Histories that were whole.", lambda: counts.recovered),
        ("botctl_realtime_not_recovered_total", "Histories that could not be whole.", lambda: counts.not_recovered),
    ):
        metrics.watch(name, help_text, read)
    metrics.watch("botctl_realtime_ended_total", "Connections the server ended.", lambda: at_door.ended, label="reason")

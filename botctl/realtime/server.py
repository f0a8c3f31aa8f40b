"""The realtime server as a service: it streams the events of all processes of a bot to clients with a key."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, ParamSpec, TypeVar
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from botctl.core.clock import Clock
from botctl.core.config.settings import RealtimeSettings, Settings
from botctl.core.contracts.access import AccessControl
from botctl.core.contracts.api_keys import ApiKeys
from botctl.core.contracts.callers import Caller
from botctl.core.contracts.event_log import EventLog
from botctl.core.contracts.health import HealthSource
from botctl.core.contracts.permissions import STATUS_READ
from botctl.core.contracts.protocols import Auditor, Limiter, StatusSource
from botctl.core.contracts.service_state import describe_end
from botctl.core.contracts.sessions import SessionStore
from botctl.core.contracts.states import StateSources
from botctl.core.contracts.throttle import API_SCOPES, parse
from botctl.core.errors import ANYTHING, BotctlError
from botctl.core.event_loop.tasks import is_own_cancellation
from botctl.core.http.proxies import Network, parse_networks
from botctl.core.http.tls import Certificate, certificate_files
from botctl.core.plural import counted
from botctl.core.processes.last_port import ports_to_try, remember_port
from botctl.core.processes.listening import LOOPBACK, cannot_listen, in_url, loopback_host
from botctl.core.processes.runtime import PartAddress, Runtime
from botctl.core.services.tasks import Backoff, Tasks
from botctl.core.telemetry.metrics import Metrics
from botctl.realtime.actions import ActionControls, Actions
from botctl.realtime.admission import ConnectionLimits, sockets_refill
from botctl.realtime.authentication import Authenticator
from botctl.realtime.budgets import limits_with_key
from botctl.realtime.connections import ConnectionRegistry
from botctl.realtime.descriptors import needed_descriptors, raise_descriptor_limit, usable_connections
from botctl.realtime.ended_callers import recheck, watch_ends, watch_rights
from botctl.realtime.gate import Gate, GateRules
from botctl.realtime.http import PATH, StatusPages
from botctl.realtime.hub import MAX_TOPICS, Hub
from botctl.realtime.limits import PolicyLimiter
from botctl.realtime.listener import GatedServer, Handshake, bound_sockets
from botctl.realtime.liveness import Deadlines
from botctl.realtime.page_access import PageAccess
from botctl.realtime.protocol import VERSION, encode_push
from botctl.realtime.server_metrics import register_metrics
from botctl.realtime.session import MESSAGE_POLICY, RealtimeSession, SessionLimits
from botctl.realtime.socket import WRITE_LIMIT_BYTES, Socket, SocketLimits, text_frame
from botctl.realtime.states import StateHub

SERVICE_NAME: Final = "realtime"
OPEN_TIMEOUT_S: Final = 10.0  # for the handshake or a page
CLOSE_GRACE_S: Final = 2.0  # from a close frame to the abort
CONNECT_POLICY: Final = "realtime.connect"
"""The rate limit policy of new connections."""
_MAX_QUEUED_FRAMES: Final = 16  # a client's messages that wait while an earlier one is answered
P = ParamSpec("P")
T = TypeVar("T")
_RESTART: Final = Backoff(first_s=0.1, limit_s=2.0)

_log = logging.getLogger(__name__)
_library_log = logging.getLogger(f"{__name__}.websockets")
_library_log.setLevel(logging.WARNING)  # INFO has a record per connection, and each GET as a failed one


@dataclass(eq=False)
class RealtimeServer:
    """The running server. ``url`` is its WebSocket address."""

    url: str
    connections: ConnectionRegistry
    hub: Hub
    states: StateHub

    async def ping(self) -> str:
        """Return the number of connections as a text for the service registry."""
        connections, subscriptions = len(self.connections.clients), self.hub.subscriptions
        return f"{self.url}, {counted(connections, 'connection')}, {counted(subscriptions, 'subscription')}"


@asynccontextmanager
async def realtime_server(
    *,
    settings: Settings,
    runtime: Runtime,
    log: EventLog,
    keys: ApiKeys,
    access: AccessControl,
    limiter: Limiter,
    auditor: Auditor,
    metrics: Metrics,
    status: StatusSource,
    health: HealthSource,
    sources: StateSources,
    controls: ActionControls,
    clock: Clock,
    tasks: Tasks,
    sessions: SessionStore | None = None,
) -> AsyncIterator[RealtimeServer]:
    """Run the server until the block ends.

    Raises:
        Held: another program has its port.
        ConfigError: it cannot listen on its address.
    """
    options = settings.realtime
    deadlines = Deadlines(options.auth_s, options.stall_s, options.heartbeat_s)
    connection_limits = _connection_limits(options)
    socket_limits = SocketLimits(options.queue_bytes, CLOSE_GRACE_S)
    messages, connects = (
        PolicyLimiter(policy, parse(limits, scopes=API_SCOPES), limiter, time_s=clock.monotonic)
        for policy, limits in ((MESSAGE_POLICY, options.message_throttle), (CONNECT_POLICY, options.connect_throttle))
    )
    proxies = parse_networks(options.trusted_proxies)
    connections = ConnectionRegistry(
        connection_limits,
        socket_limits,
        deadlines,
        sockets=sockets_refill(connects.limits),
        work=limits_with_key(messages.limits, options.message_bytes),
        proxies=proxies,
        auditor=auditor,
        clock=clock,
    )
    max_topics = max(MAX_TOPICS, 4 * options.topics)
    hub = Hub(log, tasks, recover=options.recover, recover_bytes=options.queue_bytes // 2, max_topics=max_topics)
    states = StateHub(sources, clock)
    pages = StatusPages(status, metrics, health, clock, draining=lambda: connections.closed)
    page_access = PageAccess(keys, partial(_may_see_status, access), time_s=clock.monotonic)
    gate = Gate(_gate_rules(settings, runtime, proxies, clock), pages, page_access, connections, connects)
    new_session = partial(
        RealtimeSession,
        hub=hub,
        states=states,
        actions=Actions(controls, access, auditor, clock),
        authenticator=Authenticator(keys, sessions),
        access=access,
        limiter=messages,
        admission=connections,
        limits=SessionLimits(options.topics),
    )
    limiter.declare("realtime", {CONNECT_POLICY: connects.limits, MESSAGE_POLICY: messages.limits})
    hello = text_frame(_encode_hello(options))
    certificate = _certificate(options, runtime.root)

    async def process_request(connection: ServerConnection, request: Request) -> Response | None:
        assert isinstance(connection, Socket)  # noqa: S101  for mypy: see create_connection
        return await gate.respond(connection, request)

    async def handle_connection(connection: ServerConnection) -> None:
        assert isinstance(connection, Socket)  # noqa: S101
        connection.push(hello)
        try:
            await new_session(connection).run()
        finally:
            connection.schedule_abort()
            await asyncio.shield(connection.connection_lost_waiter)  # websockets' own close has no timeout

    host = loopback_host() if options.host == LOOPBACK else options.host
    servers = await _listen(
        options,
        host,
        ports_to_try(runtime.folder, SERVICE_NAME, options.port),
        connections,
        certificate.context if certificate else None,
        process_request=_raising_exceptions(process_request),
        handle_connection=_raising_exceptions(handle_connection),
    )
    register_metrics(metrics, connections, hub, states)
    background: dict[str, Callable[[], Awaitable[None]]] = {
        "hub": hub.run,
        "deadlines": connections.sweep,
        "ended callers": partial(watch_ends, connections, log, clock),
        "rights": partial(watch_rights, connections, access, clock),
        "callers": partial(recheck, connections, keys, sessions, failed=_recheck_failed),
        **states.tasks(),
        **({"certificate": certificate.watch} if certificate is not None else {}),
    }
    for name, run in background.items():
        tasks.spawn(run, name=name, restart=_RESTART)
    url = _url(host, servers[0], secure=certificate is not None)
    try:
        runtime.publish(SERVICE_NAME, pid=os.getpid(), address=url)
        if not options.port:
            remember_port(runtime.folder, SERVICE_NAME, _port(servers[0]))
        yield RealtimeServer(url, connections, hub, states)
    finally:
        for server in servers:
            server.close(close_connections=False)
        runtime.unpublish(SERVICE_NAME)
        await connections.drain(options.drain_s)
        for server in servers:
            await server.wait_closed()


def _raising_exceptions(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """``function``, but what it raises is an Exception or its own cancellation: websockets handles nothing else."""

    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await function(*args, **kwargs)
        except ANYTHING as error:
            if isinstance(error, Exception) or is_own_cancellation(error):
                raise
            raise RuntimeError(f"the realtime server failed: {describe_end(error)}") from error

    return call


async def _listen(
    options: RealtimeSettings,
    host: str,
    ports: Sequence[int],
    connections: ConnectionRegistry,
    context: ssl.SSLContext | None,
    *,
    process_request: object,
    handle_connection: object,
) -> list[Server]:
    """Listen on all addresses of ``host``, on the first of ``ports`` that it can have. Raises Held or ConfigError."""
    new_server = partial(
        serve,
        handle_connection,  # type: ignore[arg-type]
        process_request=process_request,  # type: ignore[arg-type]
        open_timeout=OPEN_TIMEOUT_S,
        server_header=None,
        logger=_library_log,
    )
    new_socket = partial(_new_socket, connections, options)
    tls = Handshake(context, begin_s=OPEN_TIMEOUT_S, end_s=CLOSE_GRACE_S)

    async def serve_on(sock: socket.socket) -> Server:
        server = new_server()

        async def create_server() -> GatedServer:
            return GatedServer(sock, connections.admission, partial(new_socket, server), tls)

        server.create_server = create_server  # type: ignore[assignment]
        return await server

    *wishes, last = ports
    for port in wishes:
        with suppress(OSError):
            return await _listen_on(host, port, serve_on)
    try:
        return await _listen_on(host, last, serve_on)
    except OSError as error:
        hint = "Set realtime.host and realtime.port to a free address, or realtime.port to 0 for any free port."
        raise cannot_listen("The realtime server", f"{host} port {options.port}", error, hint=hint) from error


def _new_socket(connections: ConnectionRegistry, options: RealtimeSettings, server: Server) -> Socket:
    """The protocol of a new connection; without compression, and socket.py sends the pings."""
    return Socket(
        ServerProtocol(max_size=options.message_bytes, logger=_library_log),
        server,
        observer=connections,
        ping_interval=None,
        close_timeout=CLOSE_GRACE_S,
        max_queue=_MAX_QUEUED_FRAMES,
        write_limit=WRITE_LIMIT_BYTES,
    )


async def _listen_on(host: str, port: int, serve_on: Callable[[socket.socket], Awaitable[Server]]) -> list[Server]:
    """Raises OSError."""
    servers: list[Server] = []
    sockets = await bound_sockets(host, port)
    try:
        for sock in sockets:
            servers.append(await serve_on(sock))  # noqa: PERF401  those that listen are closed on an error
    except BaseException:
        for server in servers:
            server.close(close_connections=False)
        for sock in sockets:
            sock.close()
        raise
    return servers


def _connection_limits(options: RealtimeSettings) -> ConnectionLimits:
    """The limits of the settings, and no more connections than leave the rest of the process its file descriptors."""
    descriptors = raise_descriptor_limit(options.connections)
    total = usable_connections(options.connections, descriptors)
    if total < options.connections:
        _log.warning(
            "at most %d connections, not the %d of realtime.connections: this process may open only %d files, and"
            " commands need some of them (raise its limit: ulimit -n %d)",
            total,
            options.connections,
            descriptors,
            needed_descriptors(options.connections),
        )
    return ConnectionLimits(total, options.connections_per_key, options.connections_per_address)


def _gate_rules(settings: Settings, runtime: Runtime, proxies: Sequence[Network], clock: Clock) -> GateRules:
    options, page = settings.realtime, settings.web.url
    hosts = frozenset(
        name.lower().removesuffix(".")
        for name in (*options.hosts, options.host, urlsplit(page or "").hostname or options.host)
    )
    origins = frozenset(origin.lower().removesuffix("/") for origin in (*options.origins, *([page] if page else [])))
    return GateRules(hosts, origins, proxies, PartAddress(runtime, "web", clock).get)


def _may_see_status(access: AccessControl, caller: Caller) -> bool:
    return access.decide(caller.requester(), STATUS_READ).allowed


def _certificate(options: RealtimeSettings, root: Path) -> Certificate | None:
    files = certificate_files("realtime", options.tls_cert, options.tls_key, root)
    return None if files is None else Certificate(files)


def _encode_hello(options: RealtimeSettings) -> bytes:
    """The first message to a client: what the server offers."""
    limits = {"message_bytes": options.message_bytes, "topics": options.topics, "recover": options.recover}
    return encode_push("hello", protocol=VERSION, heartbeat_s=options.heartbeat_s, auth_s=options.auth_s, limits=limits)


def _url(host: str, server: Server, *, secure: bool) -> str:
    shown = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104
    return f"{'wss' if secure else 'ws'}://{in_url(shown)}:{_port(server)}{PATH}"


def _port(server: Server) -> int:
    return int(server.sockets[0].getsockname()[1])


def _recheck_failed(error: BotctlError) -> None:
    _log.warning("the keys of open connections could not be checked: %s", error)

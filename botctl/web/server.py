"""The web page of a bot as a service."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from botctl.core.clock import Clock
from botctl.core.config.settings import Settings, WebSettings
from botctl.core.contracts.access import AccessControl
from botctl.core.contracts.audit_log import AuditReader
from botctl.core.contracts.command_access import KnownCommands
from botctl.core.contracts.discord_access import DiscordAccess
from botctl.core.contracts.event_log import EventLog
from botctl.core.contracts.protocols import Auditor, GuildSettingsStore, Limiter
from botctl.core.contracts.sessions import OneTimeTokens, SessionStore
from botctl.core.contracts.throttle import API_SCOPES, parse
from botctl.core.http.proxies import parse_networks
from botctl.core.http.tls import Certificate, certificate_files
from botctl.core.processes.last_port import ports_to_try, remember_port
from botctl.core.processes.listening import LOOPBACK, cannot_listen, in_url, loopback_host
from botctl.core.processes.runtime import PartAddress, Runtime
from botctl.core.services.tasks import Backoff, Tasks
from botctl.web.api import Api
from botctl.web.audit_api import AuditApi
from botctl.web.connections import WebConnections, library_log, listening
from botctl.web.discord_api import DiscordApi
from botctl.web.member_roles import MemberRoleReader
from botctl.web.oauth import OAuthApplication
from botctl.web.requests import MAX_BODY_BYTES, guarded
from botctl.web.rules import SHELL, Site, site_url
from botctl.web.sign_in import LINK_SESSION_S, POLICY, Lifetimes, SignIn
from botctl.web.static_files import INDEX, StaticFile, load_static_files
from botctl.web.visitors import Visitors

SERVICE_NAME: Final = "web"
DRAIN_S: Final = 2.0
"""How long requests under way may take when the server stops."""
STOP_S: Final = DRAIN_S + 3.0
_KEEPALIVE_S: Final = 60.0
_REALTIME_PATH: Final = "/realtime"  # where a proxy puts the realtime server, beside the page
_RESTART: Final = Backoff(first_s=0.1, limit_s=2.0)

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class WebServer:
    """The running server. ``url``: the page's address in a browser. ``local_url``: where it listens."""

    url: str
    local_url: str

    async def ping(self) -> str:
        """Return the address as a text for the service registry."""
        return self.url


def realtime_address(settings: Settings, runtime: Runtime, clock: Clock) -> Callable[[], str | None]:
    """Where browsers reach the realtime server: on this machine; by its own TLS; or behind the proxy of the page."""
    page, options = urlsplit(settings.web.url or ""), settings.realtime
    if page.scheme.lower() != "https":
        return PartAddress(runtime, "realtime", clock).get
    host = f"{in_url(page.hostname or '')}:{options.port}" if options.tls_cert and options.port else page.netloc
    return lambda: f"wss://{host}{_REALTIME_PATH}"


@asynccontextmanager
async def web_server(
    *,
    settings: Settings,
    runtime: Runtime,
    discord: DiscordAccess,
    sessions: SessionStore,
    tokens: OneTimeTokens,
    access: AccessControl,
    commands: KnownCommands,
    guilds: GuildSettingsStore,
    log: EventLog,
    audit: AuditReader,
    limiter: Limiter,
    auditor: Auditor,
    clock: Clock,
    tasks: Tasks,
) -> AsyncIterator[WebServer]:
    """Serve the page until the block ends.

    Raises:
        Held: another program has its port.
        ConfigError: it cannot listen on its address, or the certificate cannot be used.
    """
    options = settings.web
    certificate = _certificate(options, runtime.root)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        sock = _listen(options, ports_to_try(runtime.folder, SERVICE_NAME, options.port))
        try:
            local_url = _local_url(sock, secure=certificate is not None)
            api = DiscordApi(http, discord)
            site = Site(settings.bot, site_url(options.url or local_url), _hosts(options), api.origin)
            reader = MemberRoleReader(api, access, clock)
            visitors = Visitors(sessions, access, reader, clock, timedelta(seconds=settings.auth.recheck_s))
            realtime_url = realtime_address(settings, runtime, clock)
            limits = parse(options.sign_in_throttle, scopes=API_SCOPES)
            limiter.declare(SERVICE_NAME, {POLICY: limits})
            sign_in = SignIn(
                application=_application(settings, discord, site),
                discord=api,
                sessions=sessions,
                tokens=tokens,
                visitors=visitors,
                access=access,
                limiter=limiter,
                limits=limits,
                auditor=auditor,
                clock=clock,
                lifetimes=_lifetimes(settings),
            )
            pages = Api(
                bot=settings.bot,
                sessions=sessions,
                access=access,
                commands=commands,
                guilds=guilds,
                clock=clock,
                realtime_url=realtime_url,
            )
            served: set[object] = set()
            middleware = guarded(
                site, visitors, access, parse_networks(options.trusted_proxies), realtime_url, on_request=served.add
            )
            app = web.Application(middlewares=[middleware], client_max_size=MAX_BODY_BYTES)
            app.add_routes([*sign_in.routes(), *pages.routes(), *AuditApi(audit, clock).routes(), *_static_routes()])
        except BaseException:
            sock.close()
            raise
        async with _serving(app, sock, certificate, served, tasks):
            tasks.spawn(partial(visitors.follow_members, log), name="member roles", restart=_RESTART)
            if certificate is not None:
                tasks.spawn(certificate.watch, name="certificate", restart=_RESTART)
            runtime.publish(SERVICE_NAME, pid=os.getpid(), address=site.url)
            if not options.port:
                remember_port(runtime.folder, SERVICE_NAME, sock.getsockname()[1])
            try:
                yield WebServer(site.url, local_url)
            finally:
                runtime.unpublish(SERVICE_NAME)
                await tasks.cancel()


@asynccontextmanager
async def _serving(
    app: web.Application, sock: socket.socket, certificate: Certificate | None, served: set[object], tasks: Tasks
) -> AsyncIterator[None]:
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=library_log(),
        handle_signals=False,
        keepalive_timeout=_KEEPALIVE_S,
        shutdown_timeout=DRAIN_S,
    )
    await runner.setup()
    try:
        assert runner.server is not None  # noqa: S101  for mypy: after setup
        connections = WebConnections(runner.server, served, certificate.context if certificate else None)
        async with listening(connections, sock):
            tasks.spawn(connections.sweep, name="connections", restart=_RESTART)
            yield
    finally:
        await runner.cleanup()


def _listen(options: WebSettings, ports: Sequence[int]) -> socket.socket:
    """A socket on the first of ``ports`` that it can have. Raises Held or ConfigError."""
    host = loopback_host() if options.host in (LOOPBACK, "localhost") else options.host.strip("[]")
    *wishes, last = ports
    for port in wishes:
        with suppress(OSError):
            return _bound(host, port)
    try:
        return _bound(host, last)
    except OSError as error:
        hint = "Set web.host and web.port to a free address, or web.port to 0 for any free port."
        raise cannot_listen("The web page", f"{host} port {options.port}", error, hint=hint) from error


def _bound(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError."""
    family, *_, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE, proto=socket.IPPROTO_TCP
    )[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen()
    except BaseException:
        sock.close()
        raise
    return sock


def _local_url(sock: socket.socket, *, secure: bool) -> str:
    host, port = sock.getsockname()[:2]
    return f"{'https' if secure else 'http'}://{in_url(host)}:{port}"


def _hosts(options: WebSettings) -> frozenset[str]:
    names = (options.host, urlsplit(options.url or "").hostname or "")
    return frozenset(name.lower().removesuffix(".") for name in names if name)


def _application(settings: Settings, discord: DiscordAccess, site: Site) -> OAuthApplication | None:
    """The application of the settings, or the sandbox's; None (with a log line) if it is not set up."""
    secret = settings.auth.client_secret
    client_id = discord.client_id or settings.auth.client_id
    client_secret = discord.client_secret or (secret.get_secret_value() if secret else None)
    if client_id is None or client_secret is None:
        _log.warning("no one can sign in with Discord: auth.client_id and auth.client_secret are not set")
        return None
    return OAuthApplication(client_id, client_secret, site.redirect_uri)


def _lifetimes(settings: Settings) -> Lifetimes:
    seconds = settings.auth.session_s
    return Lifetimes(timedelta(seconds=seconds), timedelta(seconds=min(seconds, LINK_SESSION_S)))


def _certificate(options: WebSettings, root: Path) -> Certificate | None:
    files = certificate_files("web", options.tls_cert, options.tls_key, root)
    return None if files is None else Certificate(files)


def _static_routes() -> list[web.RouteDef]:
    """The shell and the files of the page."""
    files = load_static_files()

    def serve(file: StaticFile) -> Callable[[web.Request], object]:
        async def handler(request: web.Request) -> web.StreamResponse:
            return file.response(request)

        return handler

    routes = [web.get(f"/static/{path}", serve(file)) for path, file in files.items() if path != INDEX]  # type: ignore[arg-type]
    return [web.get(SHELL, serve(files[INDEX])), *routes]  # type: ignore[arg-type]

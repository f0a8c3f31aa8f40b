"""Serves a sandbox on a port: builds the web application, starts and stops it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime

from aiohttp import web

from botctl.core.listening import bound_to_loopback, in_url
from botctl.sandbox.actions import threads
from botctl.sandbox.control import routes as control
from botctl.sandbox.gateway import websocket
from botctl.sandbox.incidents.runner import RUNNER, IncidentRunner
from botctl.sandbox.rest import oauth_page, register_all, routing  # noqa: F401 - fills the table of routes
from botctl.sandbox.sandbox import Sandbox
from botctl.sandbox.web import cdn, openapi_check
from botctl.sandbox.web.keys import SANDBOX
from botctl.sandbox.web.openapi_check import OPENAPI_CHECK, OpenApiCheck
from botctl.sandbox.web.traffic import TRAFFIC, Traffic

_STOP_S = 0.5  # then requests in progress are cancelled: control requests that wait for the bot


@dataclass(frozen=True)
class Listener:
    """A bound port that does not listen yet."""

    sock: socket.socket
    url: str


@dataclass(frozen=True)
class RunningSandbox:
    """A listening sandbox and its parts; ``self_check`` (of responses) is None when it is off."""

    sandbox: Sandbox
    incidents: IncidentRunner
    traffic: Traffic
    self_check: OpenApiCheck | None

    @property
    def url(self) -> str:
        return self.sandbox.url


@contextlib.contextmanager
def bind_loopback(port: int = 0) -> Iterator[Listener]:
    """Bind ``port`` (0: any free one) on loopback: a sandbox needs its URL when it is created. Raises OSError."""
    with bound_to_loopback(port) as sock:
        host, bound_port = sock.getsockname()[:2]
        yield Listener(sock, f"http://{in_url(host)}:{bound_port}")


@contextlib.asynccontextmanager
async def serve_sandbox(
    sandbox: Sandbox,
    listener: Listener,
    *,
    self_check: OpenApiCheck | None = None,
    configure: Callable[[web.Application], None] = lambda _: None,
) -> AsyncIterator[RunningSandbox]:
    """Listen until the block ends; then abort the bots' connections, so that they can RESUME later.

    Without ``self_check``, ``BOTCTL_DISCORD_OPENAPI`` switches the check on. ``configure`` changes the
    application before it starts.

    Raises ConfigError when the self-check is not available, OSError when the port is in use.
    """
    self_check = self_check or openapi_check.from_environment(os.environ)
    running = RunningSandbox(sandbox, IncidentRunner(sandbox), Traffic(sandbox), self_check)
    app = _build_application(running)
    configure(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_S, handle_signals=False)
    await runner.setup()
    try:
        await web.SockSite(runner, listener.sock).start()
        threads.schedule_all_archiving(sandbox)
        yield running
    finally:
        await running.incidents.close()
        for connection in app[websocket.TRANSPORTS]:
            connection.abort()
        await runner.cleanup()


def _build_application(running: RunningSandbox) -> web.Application:
    """The application with REST, gateway, attachments and control API."""
    app = web.Application(client_max_size=routing.BODY_MAX_BYTES)
    app[SANDBOX], app[TRAFFIC] = running.sandbox, running.traffic
    app[RUNNER], app[OPENAPI_CHECK] = running.incidents, running.self_check
    app[websocket.TRANSPORTS] = set()
    app.on_response_prepare.append(_set_date)
    app.router.add_get("/", websocket.handle)
    app.router.add_get("/cdn/attachments/{channel}/{attachment}/{name}", cdn.send_attachment)
    control.install(app)
    oauth_page.install(app)
    routing.install(app)
    if running.self_check is not None:
        running.self_check.install(app)
    running.traffic.install(app)
    return app


async def _set_date(request: web.Request, response: web.StreamResponse) -> None:
    """Date answers by the sandbox's clock, which the ids show too: bots learn Discord's time from both."""
    sandbox = request.app[SANDBOX]
    now = sandbox.world.clock.now() + timedelta(seconds=sandbox.sessions.faults.skew_s)
    response.headers["Date"] = format_datetime(now, usegmt=True)

"""A sandbox on a port: the web application, its life from listening to stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from aiohttp import web

from botctl.sandbox.actions import threads
from botctl.sandbox.control import routes as control
from botctl.sandbox.gateway import websocket
from botctl.sandbox.incidents.runner import RUNNER, Incidents
from botctl.sandbox.model.faults import VIA
from botctl.sandbox.rest import oauth_page, register_all, routing  # noqa: F401 - fills the table of routes
from botctl.sandbox.server import Sandbox
from botctl.sandbox.web import openapi_check
from botctl.sandbox.web.keys import SANDBOX
from botctl.sandbox.web.openapi_check import JUDGE, OpenApiCheck
from botctl.sandbox.web.traffic import TRAFFIC, Traffic

_STOP_S = 0.5  # for requests that are being answered; a person who waits for a reply is cut off


@dataclass(frozen=True)
class Listener:
    """A port that is taken and where nothing listens yet."""

    sock: socket.socket
    url: str


@dataclass(frozen=True)
class RunningSandbox:
    """A sandbox that listens, its incidents, what records it, and its self-check where it is on."""

    sandbox: Sandbox
    incidents: Incidents
    traffic: Traffic
    self_check: OpenApiCheck | None

    @property
    def url(self) -> str:
        return self.sandbox.url


@contextlib.contextmanager
def bind_loopback(port: int = 0) -> Iterator[Listener]:
    """Take ``port`` (0: any free one) of loopback, so that a world may be made that knows where it is.

    Raises OSError.
    """
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        yield Listener(sock, f"http://127.0.0.1:{sock.getsockname()[1]}")


@contextlib.asynccontextmanager
async def serve_sandbox(
    sandbox: Sandbox,
    listener: Listener,
    *,
    self_check: OpenApiCheck | None = None,
    configure: Callable[[web.Application], None] = lambda _: None,
) -> AsyncIterator[RunningSandbox]:
    """Listen. On the way out every bot's connection is cut: they may RESUME later.

    ``self_check`` is the one that the environment asks for where it is None; ``configure`` may listen to what goes in and out
    before anything does.

    Raises ConfigError where the environment asks for the self-check and it cannot be had, OSError.
    """
    self_check = self_check or openapi_check.from_environment(os.environ)
    running = RunningSandbox(sandbox, Incidents(sandbox), Traffic(sandbox), self_check)
    app = _build_application(running)
    configure(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_S, handle_signals=False)
    await runner.setup()
    try:
        await web.SockSite(runner, listener.sock).start()
        threads.watch_all(sandbox)
        yield running
    finally:
        await running.incidents.close()
        for connection in app[websocket.CONNECTIONS]:
            connection.abort()
        await runner.cleanup()


def _build_application(running: RunningSandbox) -> web.Application:
    """REST, gateway, attachments and the control API."""
    app = web.Application(client_max_size=routing.BODY_MAX_BYTES)
    app[SANDBOX], app[TRAFFIC] = running.sandbox, running.traffic
    app[RUNNER], app[JUDGE] = running.incidents, running.self_check
    app[websocket.CONNECTIONS] = set()
    app.router.add_get("/", websocket.handle)
    app.router.add_get("/resume", websocket.handle_resume)
    app.router.add_get("/cdn/attachments/{channel}/{attachment}/{name}", _handle_attachment)
    control.install(app)
    oauth_page.install(app)
    routing.install(app)
    if running.self_check is not None:
        running.self_check.watch(app)
    running.traffic.watch(app)
    return app


async def _handle_attachment(request: web.Request) -> web.Response:
    found = await asyncio.to_thread(request.app[SANDBOX].files.get, request.match_info["attachment"])
    if found is None:
        return web.Response(status=404)
    return web.Response(body=found[1], headers={"Content-Type": found[0], "Via": VIA})

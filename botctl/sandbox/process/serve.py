"""A sandbox on a port: the web application, its life from listening to stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from botctl.sandbox.actions import threads
from botctl.sandbox.control import routes as control
from botctl.sandbox.gateway import websocket
from botctl.sandbox.incidents.runner import Incidents
from botctl.sandbox.process import openapi_check
from botctl.sandbox.process.traffic import Traffic
from botctl.sandbox.rest import oauth_page, routes, routing  # noqa: F401 - importing routes fills the table of rest
from botctl.sandbox.server import Sandbox

_STOP_S = 0.5  # for requests that are being answered; a person who waits for a reply is cut off


def application(sandbox: Sandbox) -> web.Application:
    """REST, gateway, attachments and the control API of ``sandbox``."""
    app = web.Application(client_max_size=routing.BODY_MAX_BYTES)
    app[websocket.SANDBOX] = sandbox
    app[websocket.CONNECTIONS] = set()
    app.router.add_get("/", websocket.handle)
    app.router.add_get("/resume", websocket.handle_resume)
    app.router.add_get("/cdn/attachments/{channel}/{attachment}/{name}", _attachment)
    control.install(app)
    oauth_page.install(app)
    routing.install(app)
    if sandbox.judge is not None:
        sandbox.judge.watch(app)
    return app


@contextlib.asynccontextmanager
async def serving(
    sandbox: Sandbox, *, port: int = 0, watch: Callable[[web.Application], None] = lambda _: None
) -> AsyncIterator[str]:
    """Listen on loopback; yields the base URL. On the way out every bot's connection is cut: they may RESUME later.

    ``watch`` may listen to what goes in and out before anything does.

    Raises ConfigError where the environment asks for the self-check and it cannot be had.
    """
    sandbox.judge = sandbox.judge or openapi_check.from_environment(os.environ)
    sandbox.incidents, sandbox.traffic = Incidents(sandbox), Traffic(sandbox)
    app = application(sandbox)
    sandbox.traffic.watch(app)
    watch(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_S, handle_signals=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port, reuse_address=True)
        await site.start()
        sandbox.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        sandbox.world.cdn = f"{sandbox.url}/cdn"
        threads.watch_all(sandbox)
        yield sandbox.url
    finally:
        await sandbox.incidents.close()
        for connection in app[websocket.CONNECTIONS]:
            connection.abort()
        await runner.cleanup()


async def _attachment(request: web.Request) -> web.Response:
    found = await asyncio.to_thread(request.app[websocket.SANDBOX].files.get, request.match_info["attachment"])
    if found is None:
        return web.Response(status=404)
    return web.Response(body=found[1], headers={"Content-Type": found[0], "Via": routing.HEADERS["Via"]})

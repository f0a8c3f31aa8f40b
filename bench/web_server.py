"""A web server with one handler twice: behind a session, and without one. Prints its port; ends with its stdin.

Usage: ``python -m bench.web_server ROOT TEXT``: the project whose stores run, and the text of a session's cookie.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path

import uvloop
from aiohttp import web

from botctl.audit.log import AuditLog
from botctl.audit.pages import AuditPages
from botctl.core.clock import SystemClock
from botctl.core.config.loading import load
from botctl.core.contracts.access import AccessControl
from botctl.core.contracts.permissions import AUDIT_READ
from botctl.core.contracts.sessions import SessionStore
from botctl.run.oneshot.services import open_services
from botctl.run.providers import add_access, add_audit, add_keys, add_mongo, add_redis, add_relay, add_sessions
from botctl.stores.mongo import Database
from botctl.web.requests import CONTEXT, guarded
from botctl.web.responses import json_response
from botctl.web.rules import Site
from botctl.web.visitors import Visitors

ENTRIES = 20  # of the audit log, in each answer


async def main(root: Path) -> None:
    loaded = load(root, None, os.environ, {})
    groups = (add_redis, add_mongo, add_relay, add_audit, add_keys, add_access, add_sessions)
    async with open_services(loaded, *groups) as running:
        access, reader = running.get(AccessControl), AuditPages(AuditLog(running.get(Database)))
        visitors = Visitors(running.get(SessionStore), access, None, SystemClock(), timedelta(hours=1))

        async def read(_: web.Request) -> web.Response:
            page = await reader.page(limit=ENTRIES)
            return json_response({"entries": page.entries, "next": page.next})

        async def read_with_session(request: web.Request) -> web.Response:
            context = request[CONTEXT]
            context.require(await context.require_session(request), AUDIT_READ)
            return await read(request)

        site = Site(loaded.settings.bot, "http://127.0.0.1", frozenset(), "http://127.0.0.1")
        middleware = guarded(site, visitors, access, (), lambda: None, on_request=lambda _: None)
        app = web.Application(middlewares=[middleware])
        app.router.add_get("/without", read)
        app.router.add_get("/with", read_with_session)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        server = web.TCPSite(runner, "127.0.0.1", 0)
        await server.start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))

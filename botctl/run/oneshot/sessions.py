"""Services of `botctl auth sessions`, `link` and `url`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from botctl.core.config.loading import Loaded
from botctl.core.contracts.sessions import SessionStore
from botctl.core.errors import Unreachable
from botctl.core.processes.runtime import Runtime
from botctl.run.oneshot.services import open_services
from botctl.run.providers import add_audit, add_keys, add_mongo, add_redis, add_relay, add_sessions


@asynccontextmanager
async def open_sessions(loaded: Loaded) -> AsyncIterator[SessionStore]:
    """The sessions of people. Changes are audited and sent to the running processes."""
    async with open_services(loaded, add_redis, add_mongo, add_relay, add_audit, add_keys, add_sessions) as running:
        yield running.get(SessionStore)


def page_url(loaded: Loaded) -> str:
    """The address of the web page. Raises Unreachable if no address is set, and none runs here."""
    if loaded.settings.web.url is not None:
        return loaded.settings.web.url.rstrip("/")
    part = Runtime(loaded.root).live().get("web")
    if part is None:
        raise Unreachable("The web page does not run on this machine.", hint="Start the bot: `botctl run`.")
    return part.address

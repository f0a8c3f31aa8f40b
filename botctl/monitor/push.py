"""Call an uptime service while the bot works, so that it can tell when nothing of the bot is left to speak.

There are two kinds. A *dead man's switch* (healthchecks.io) has a plain address, which is called only while the bot
works. A *push monitor* (Uptime Kuma) has ``{status}`` or ``{message}`` in its address, and is told in both cases.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import quote

import aiohttp

from botctl.core.config.settings import Settings
from botctl.core.contracts.health import Diagnosis, Health, HealthSource
from botctl.core.errors import type_name
from botctl.core.redact import redact
from botctl.core.services.outage import Outage
from botctl.core.services.tasks import Backoff, Tasks
from botctl.core.version import __version__

LIMIT_S: Final = 10.0
RETRY_S: Final = 5.0  # after a failure, and while there is nothing to tell
STATUS: Final = "{status}"
MESSAGE: Final = "{message}"
_MAX_MESSAGE: Final = 200
_MAX_OK: Final = 299
_REDIRECTS: Final = range(300, 400)
_AGENT: Final = f"botctl/{__version__}"
_log = logging.getLogger(__name__)


def address_for(url: str, found: Diagnosis) -> str | None:
    """What to call when ``found`` is the verdict on the bot; None if nothing.

    A bot that starts or stops is not called down, or each deploy would raise an alarm. If it takes too long, the
    service notices by itself.
    """
    tells = STATUS in url or MESSAGE in url
    if found.verdict in (Health.STARTING, Health.DRAINING) or not (found.verdict.works or tells):
        return None
    message = quote(redact(found.why)[:_MAX_MESSAGE], safe="")
    return url.replace(STATUS, "up" if found.verdict.works else "down").replace(MESSAGE, message)


class StatusPush:
    """Calls ``url`` every ``every_s``."""

    def __init__(
        self, http: aiohttp.ClientSession, url: str, every_s: float, health: HealthSource, tasks: Tasks
    ) -> None:
        self._http, self._url, self._every_s, self._health = http, url, every_s, health
        self._outage = Outage(tasks, _log)

    async def run(self) -> None:
        """Never returns."""
        while True:
            called = await self.push()
            await asyncio.sleep(self._every_s if called else min(self._every_s, RETRY_S))

    async def push(self) -> bool:
        """Tell the verdict, once. Returns whether the service has it; False also if there is nothing to tell."""
        address = address_for(self._url, self._health.of_bot())
        if address is None:
            return False
        problem = await self._call(address)
        if problem:
            self._outage.begin(f"the address of health.push_url {problem}")
        else:
            self._outage.end()
        return not problem

    async def _call(self, address: str) -> str:
        """What is wrong with the answer; empty if nothing. No sentence has the address, which is a secret."""
        try:
            async with self._http.get(address, allow_redirects=False) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"cannot be called ({type_name(error)})"
        if status in _REDIRECTS:
            return f"redirects (HTTP {status}), and botctl does not follow: set the address that it leads to"
        return f"answers with HTTP {status}" if status > _MAX_OK else ""


@asynccontextmanager
async def status_push(*, settings: Settings, health: HealthSource, tasks: Tasks) -> AsyncIterator[StatusPush]:
    """Factory of the service. `health.push_url` must be set."""
    url = settings.health.push_url
    assert url is not None  # noqa: S101  for mypy: the service is added for it
    timeout = aiohttp.ClientTimeout(total=LIMIT_S)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=jar, headers={"User-Agent": _AGENT}) as http:
        push = StatusPush(http, url.get_secret_value(), settings.health.push_s, health, tasks)
        tasks.spawn(push.run, name="push", restart=Backoff())
        try:
            yield push
        finally:
            await tasks.cancel()

"""What Discord's public status page says. It is shown with what fails at Discord, and changes no verdict by itself.

Source: https://discordstatus.com/api/v2 (Status: the rollup of the whole page).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from botctl.core.clock import Clock
from botctl.core.config.settings import Settings
from botctl.core.errors import type_name
from botctl.core.services.tasks import Backoff, Tasks
from botctl.core.version import __version__
from botctl.monitor.writer import SnapshotWriter

EVERY_S: Final = 60.0
LIMIT_S: Final = 10.0
FRESH_S: Final = 180.0
"""An older answer is not shown: two questions after it had none."""
_MAX_BYTES: Final = 65_536
_MAX_TEXT: Final = 100
_OK: Final = 200
_log = logging.getLogger(__name__)


class StatusPage:
    """Asks ``url`` every `EVERY_S`."""

    def __init__(self, http: aiohttp.ClientSession, url: str, clock: Clock) -> None:
        self._http, self._url, self._clock = http, url, clock
        self._text, self._read_s = "", 0.0
        self._problem = ""

    def says(self) -> str:
        """What it says, like ``Partial System Outage``. Empty if that is not known, or no longer."""
        return self._text if self._clock.monotonic() - self._read_s <= FRESH_S else ""

    async def run(self) -> None:
        """Never returns."""
        while True:
            await self.ask()
            await asyncio.sleep(EVERY_S)

    async def ask(self) -> None:
        """Ask once. A page that does not answer says nothing of the bot, so that is only a line of the log."""
        problem = ""
        try:
            async with self._http.get(self._url, allow_redirects=False) as answer:
                body = await _read(answer.content) if answer.status == _OK else b""
                problem = "" if answer.status == _OK else f"answers with HTTP {answer.status}"
            if not problem:
                self._text, self._read_s = parse(body), self._clock.monotonic()
        except (aiohttp.ClientError, OSError) as error:
            problem = f"cannot be reached ({type_name(error)})"
        except ValueError:
            problem = "gives something else than the status of a page"
        if problem and not self._problem:
            _log.info("the address of health.discord_status %s", problem)
        self._problem = problem


async def _read(content: aiohttp.StreamReader) -> bytes:
    """The beginning of the body, up to the chunk in which it gets longer than `_MAX_BYTES`."""
    body = b""
    while len(body) <= _MAX_BYTES and (chunk := await content.readany()):
        body += chunk
    return body


def parse(body: bytes) -> str:
    """The description in the answer ``body``, without control characters. Raises ValueError if there is none."""
    try:
        text = json.loads(body)["status"]["description"]
    except (KeyError, TypeError, RecursionError):
        text = None
    if not isinstance(text, str):
        raise ValueError("no description")  # noqa: TRY004 - of the answer, not of an argument
    return "".join(char for char in text if char.isprintable())[:_MAX_TEXT].strip()


@asynccontextmanager
async def discord_status(
    *, settings: Settings, writer: SnapshotWriter, clock: Clock, tasks: Tasks
) -> AsyncIterator[StatusPage]:
    """Factory of the service, whose answers go into the snapshots. `health.discord_status` must be set."""
    timeout, jar = aiohttp.ClientTimeout(total=LIMIT_S), aiohttp.DummyCookieJar()
    headers = {"User-Agent": f"botctl/{__version__}"}
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=jar, headers=headers) as http:
        page = StatusPage(http, settings.health.discord_status, clock)
        writer.discord_says = page.says
        tasks.spawn(page.run, name="status page", restart=Backoff())
        try:
            yield page
        finally:
            await tasks.cancel()  # before the session of its requests closes

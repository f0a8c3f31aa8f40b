"""Ask Discord, or the sandbox: a client that only reads, and sends each request once."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from botctl.core.contracts.discord_access import DiscordAccess
from botctl.core.escape import safe
from botctl.core.redact import redact
from botctl.core.version import __version__

DISCORD: Final = "https://discord.com"
ANSWER_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class DiscordAnswer:
    """``status`` None: there was no answer, and ``error`` says why. ``body``: parsed JSON, else None.

    ``date``: the header, if there is one. ``sent_s`` and ``received_s``: this machine's Unix time.
    """

    status: int | None
    body: Any = None
    date: str | None = None
    sent_s: float = 0.0
    received_s: float = 0.0
    error: str = ""
    retry_after_s: float = 0.0  # of a 429


class DiscordReader:
    """Made by `discord_reader`."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self._base_url = base_url

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> DiscordAnswer:
        """GET ``path`` (``/users/@me``). Raises nothing: no answer is an answer too."""
        sent_s = time.time()
        try:
            async with self._session.get(f"{self._base_url}/api/v10{path}", params=query) as response:
                is_json = response.content_type == "application/json"
                body = await response.json() if is_json else None
                headers = response.headers
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            detail = safe(redact(str(error))) or "no answer in time"
            return DiscordAnswer(None, error=f"{type(error).__name__}: {detail}", sent_s=sent_s, received_s=time.time())
        retry_after = body.get("retry_after", 0) if isinstance(body, dict) else 0
        return DiscordAnswer(
            response.status,
            body,
            headers.get("Date"),
            sent_s,
            time.time(),
            retry_after_s=float(retry_after) if isinstance(retry_after, int | float) else 0.0,
        )


@asynccontextmanager
async def discord_reader(access: DiscordAccess) -> AsyncIterator[DiscordReader]:
    headers = {
        "Authorization": f"Bot {access.token}",
        "User-Agent": f"DiscordBot (botctl, {__version__})",
    }
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        yield DiscordReader(session, access.base_url or DISCORD)

"""What goes over REST and the gateway, for whoever records it, with every secret taken out before it leaves.

A line is one JSON object: ``{"at", "bot", "rest": {method, path, query, body, status, answer}}``, or ``{"at", "bot",
"connection", …}`` with ``sent`` (what the gateway told the bot), ``heard`` (what the bot said), ``closed`` or ``left``
(the code with which the gateway, or the bot, closed).
Headers and files are not in it, and long texts are cut. Where nobody records, nothing is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any, Final

from aiohttp import web

from botctl.sandbox.model.compact_json import dumps
from botctl.sandbox.model.redaction import PLACEHOLDER, redact
from botctl.sandbox.model.tokens import client_secret
from botctl.sandbox.server import Sandbox
from botctl.sandbox.web.keys import BODY

Json = dict[str, Any]
_WAITING_MOST = 10_000  # lines for a recorder that does not read; then it is told how many it has missed
_KEYS: Final = frozenset({"token", "access_token", "refresh_token", "client_secret", "code_verifier"})
_OAUTH_KEYS: Final = _KEYS | {"code"}  # elsewhere that is the number of an error, or an invite
_IN_PATH: Final = re.compile(r"(?<=/)(interactions|webhooks)/(\d+)/[^/?#]+")
_WORD: Final = re.compile(r"[\w-]{20,}")


class Traffic:
    """What is told to those who `listen`."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._listeners: dict[asyncio.Queue[str], int] = {}  # with the number of lines that each has missed

    @property
    def recorded(self) -> bool:
        return bool(self._listeners)

    @contextlib.contextmanager
    def listen(self) -> Iterator[asyncio.Queue[str]]:
        """The lines from now on."""
        lines: asyncio.Queue[str] = asyncio.Queue(_WAITING_MOST)
        self._listeners[lines] = 0
        try:
            yield lines
        finally:
            del self._listeners[lines]

    def watch(self, app: web.Application) -> None:
        """Take down every answer of ``app`` to a bot, where somebody listens."""
        app.on_response_prepare.append(self._answered)

    def frame(self, connection: int, application_id: str, direction: str, said: str | bytes | int) -> None:
        """A payload of the gateway, ``sent`` or ``heard``, or the code with which it was ``closed`` or ``left``."""
        payload = said if isinstance(said, int) else _parsed(said)
        self._tell(self._bot(application_id), {"connection": connection, direction: redact(payload, _KEYS)})

    async def _answered(self, request: web.Request, response: web.StreamResponse) -> None:
        if not self._listeners or not request.path.startswith("/api/") or not isinstance(response, web.Response):
            return
        keys = _OAUTH_KEYS if "/oauth2/" in request.path else _KEYS
        rest = {
            "method": request.method,
            "path": _IN_PATH.sub(rf"\1/\2/{PLACEHOLDER}", request.path),
            "query": redact(dict(request.query), keys),
            "body": redact(request.get(BODY), keys),
            "status": response.status,
            "answer": redact(_parsed(response.body) if isinstance(response.body, bytes) else None, keys),
        }
        token = request.headers.get("Authorization", "").removeprefix("Bot ")
        self._tell(self._bot(self._sandbox.access.tokens.get(token, "")), {"rest": rest})

    def _tell(self, bot: str, what: Json) -> None:
        line = self._without_secrets(dumps({"at": self._sandbox.world.timestamp(), "bot": bot, **what}))
        for lines, missed in self._listeners.items():
            try:
                if missed:
                    lines.put_nowait(dumps({"missed": missed}))
                    self._listeners[lines] = 0
                lines.put_nowait(line)
            except asyncio.QueueFull:
                self._listeners[lines] = missed + 1

    def _bot(self, application_id: str) -> str:
        app = self._sandbox.world.applications.get(application_id)
        return app.name if app else ""

    def _without_secrets(self, line: str) -> str:
        """``line`` without what is a secret by its value, wherever it stands."""
        sandbox = self._sandbox
        access, applications = sandbox.access, sandbox.world.applications
        hooks = {one.token for one in sandbox.world.webhooks.values()}
        whole = [
            *access.tokens,
            access.control_secret,
            *(client_secret(access.control_secret, one) for one in applications),
        ]
        for secret in whole:
            line = line.replace(dumps(secret)[1:-1], PLACEHOLDER)

        def shown(word: re.Match[str]) -> str:
            is_secret = word[0] in hooks or word[0] in sandbox.interactions or word[0] in sandbox.grants
            return PLACEHOLDER if is_secret else word[0]

        return _WORD.sub(shown, line)


TRAFFIC = web.AppKey("traffic", Traffic)


def _parsed(said: str | bytes) -> Any:
    try:
        return json.loads(said)
    except (ValueError, RecursionError):
        return f"({len(said)} bytes that are no JSON)"

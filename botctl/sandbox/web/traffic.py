"""The traffic of REST and the gateway as JSON lines, without secrets, for programs that record it.

A line is ``{"at", "bot", "rest": {method, path, query, body, status, answer}}``, or ``{"at", "bot", "connection", …}``
with one of ``sent`` (payload to the bot), ``heard`` (payload from it), ``closed`` (close code of the gateway), ``left``
(close code of the bot). ``answer`` is the response's body. Headers and files are left out, and long texts are cut.
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
from botctl.sandbox.sandbox import Sandbox
from botctl.sandbox.web.keys import BODY

Json = dict[str, Any]
_MAX_QUEUED = 10_000  # lines for a subscriber that reads slowly; later ones are dropped and counted
_SECRET_KEYS: Final = frozenset({"token", "access_token", "refresh_token", "client_secret", "code_verifier"})
_OAUTH_SECRET_KEYS: Final = _SECRET_KEYS | {"code"}  # elsewhere it is an error code or an invite code
_TOKEN_IN_PATH: Final = re.compile(r"(?<=/)(interactions|webhooks)/(\d+)/[^/?#]+")
_LONG_WORD: Final = re.compile(r"[\w-]{20,}")


class Traffic:
    """Sends each request and gateway payload, without secrets, to all subscribers."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._subscribers: dict[asyncio.Queue[str], int] = {}  # queue to number of dropped lines

    @property
    def has_subscribers(self) -> bool:
        return bool(self._subscribers)

    @contextlib.contextmanager
    def subscribe(self) -> Iterator[asyncio.Queue[str]]:
        queue: asyncio.Queue[str] = asyncio.Queue(_MAX_QUEUED)
        self._subscribers[queue] = 0
        try:
            yield queue
        finally:
            del self._subscribers[queue]

    def install(self, app: web.Application) -> None:
        """Record every response of ``app`` to a bot while there is a subscriber."""
        app.on_response_prepare.append(self._record_response)

    def record_frame(self, connection: int, application_id: str, direction: str, content: str | bytes | int) -> None:
        """Record a payload (``direction`` is sent or heard) or a close code (closed or left)."""
        payload = content if isinstance(content, int) else _parse_json(content)
        self._publish(
            self._bot_name(application_id), {"connection": connection, direction: redact(payload, _SECRET_KEYS)}
        )

    async def _record_response(self, request: web.Request, response: web.StreamResponse) -> None:
        if not self._subscribers or not request.path.startswith("/api/") or not isinstance(response, web.Response):
            return
        keys = _OAUTH_SECRET_KEYS if "/oauth2/" in request.path else _SECRET_KEYS
        rest = {
            "method": request.method,
            "path": _TOKEN_IN_PATH.sub(rf"\1/\2/{PLACEHOLDER}", request.path),
            "query": redact(dict(request.query), keys),
            "body": redact(request.get(BODY), keys),
            "status": response.status,
            "answer": redact(_parse_json(response.body) if isinstance(response.body, bytes) else None, keys),
        }
        token = request.headers.get("Authorization", "").removeprefix("Bot ")
        self._publish(self._bot_name(self._sandbox.access.tokens.get(token, "")), {"rest": rest})

    def _publish(self, bot: str, entry: Json) -> None:
        line = self._redact(dumps({"at": self._sandbox.world.timestamp(), "bot": bot, **entry}))
        for queue, missed in self._subscribers.items():
            try:
                if missed:
                    queue.put_nowait(dumps({"missed": missed}))
                    self._subscribers[queue] = 0
                queue.put_nowait(line)
            except asyncio.QueueFull:
                self._subscribers[queue] = missed + 1

    def _bot_name(self, application_id: str) -> str:
        app = self._sandbox.world.applications.get(application_id)
        return app.name if app else ""

    def _redact(self, line: str) -> str:
        """``line`` without any known secret."""
        sandbox = self._sandbox
        access, applications = sandbox.access, sandbox.world.applications
        webhook_tokens = {webhook.token for webhook in sandbox.world.webhooks.values()}
        secrets = [
            *access.tokens,
            access.control_secret,
            *(client_secret(access.control_secret, application_id) for application_id in applications),
        ]
        for secret in secrets:
            line = line.replace(dumps(secret)[1:-1], PLACEHOLDER)

        def redact_word(word: re.Match[str]) -> str:
            is_secret = word[0] in webhook_tokens or word[0] in sandbox.interactions or word[0] in sandbox.grants
            return PLACEHOLDER if is_secret else word[0]

        return _LONG_WORD.sub(redact_word, line)


TRAFFIC = web.AppKey("traffic", Traffic)


def _parse_json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return f"({len(text)} bytes that are no JSON)"

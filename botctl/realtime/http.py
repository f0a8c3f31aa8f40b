"""The HTTP pages ``/healthz``, ``/readyz`` and ``/metrics`` of the server, for GET and HEAD."""

from __future__ import annotations

import asyncio
import http
import json
import time
from collections.abc import Callable, Sequence
from typing import Final

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from botctl.core.contracts.protocols import StatusSource
from botctl.core.contracts.service_state import ServiceHealth, ServiceState
from botctl.core.redact import redact_values
from botctl.core.telemetry.metrics import CONTENT_TYPE, Metrics, render_prometheus

PATH: Final = "/realtime"
"""Path of the WebSocket endpoint."""
HEALTH_CACHE_S: Final = 1.0  # how long a result is cached, so that frequent probes do not load the stores
_JSON: Final = "application/json"


class StatusPages:
    """Answers HTTP requests. ``draining``: whether the server is about to stop."""

    def __init__(self, status: StatusSource, metrics: Metrics, *, draining: Callable[[], bool]) -> None:
        self._status = status
        self._metrics = metrics
        self._draining = draining
        self._health: Sequence[ServiceHealth] = ()
        self._checked_at_s = float("-inf")
        self._health_task: asyncio.Task[None] | None = None

    async def respond(self, request: Request) -> Response | None:
        """Return the response to ``request``; None for `PATH`, which becomes a WebSocket connection."""
        path = request.path.partition("?")[0]
        if path == PATH:
            return None
        if request.method not in ("GET", "HEAD"):
            return _response(http.HTTPStatus.METHOD_NOT_ALLOWED, _JSON, '{"error":"only GET and HEAD"}')
        match path:
            case "/healthz":
                response = _response(http.HTTPStatus.OK, _JSON, '{"alive":true}')
            case "/readyz":
                response = await self._ready()
            case "/metrics":
                response = _response(http.HTTPStatus.OK, CONTENT_TYPE, render_prometheus(self._metrics))
            case _:
                response = _response(http.HTTPStatus.NOT_FOUND, _JSON, '{"error":"there is no such page"}')
        if request.method == "HEAD":
            response.body = b""
        return response

    async def _ready(self) -> Response:
        """Respond with 200 if all services of this process are healthy, else with 503 and those that are not."""
        if self._health_task is None and time.monotonic() - self._checked_at_s > HEALTH_CACHE_S:
            self._health_task = asyncio.create_task(self._check_health())
        if self._health_task is not None:
            await asyncio.shield(self._health_task)  # shared, so a cancelled request must not cancel it
        states = {status.name: status.state for status in self._status.statuses()}
        not_ready = {
            service.name: {"state": states.get(service.name, ServiceState.IDLE), "detail": service.detail}
            for service in self._health
            if not service.ok
        }
        ready = not not_ready and not self._draining()
        body = json.dumps({"ready": ready, "draining": self._draining(), "not_ready": not_ready})
        return _response(http.HTTPStatus.OK if ready else http.HTTPStatus.SERVICE_UNAVAILABLE, _JSON, body)

    async def _check_health(self) -> None:
        try:
            self._health = await self._status.health()
            self._checked_at_s = time.monotonic()
        finally:
            self._health_task = None


def too_many_connections() -> Response:
    """Return the response for an address that has or opens too many connections."""
    response = _response(http.HTTPStatus.TOO_MANY_REQUESTS, _JSON, '{"error":"too many connections"}')
    response.headers["Retry-After"] = "10"
    return response


def _response(status: http.HTTPStatus, content_type: str, body: str) -> Response:
    data = redact_values(body).encode()  # the one way out of every page
    headers = Headers({"Content-Type": content_type, "Content-Length": str(len(data)), "Connection": "close"})
    headers["Cache-Control"] = "no-store"
    return Response(status.value, status.phrase, headers, data)

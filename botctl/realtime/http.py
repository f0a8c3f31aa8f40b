"""The server's plain HTTP: ``/healthz``, ``/readyz``, ``/metrics``. Only GET and HEAD, small answers, no bodies."""

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
from botctl.core.telemetry.metrics import CONTENT_TYPE, Metrics, render_prometheus

PATH: Final = "/realtime"
"""Where clients connect."""
HEALTH_S: Final = 1.0  # how long an answer of the services is good: whoever asks all the time asks no store
_JSON: Final = "application/json"


class Pages:
    """What is answered to a request that is not a client's. ``draining``: whether the server is about to stop."""

    def __init__(self, status: StatusSource, metrics: Metrics, *, draining: Callable[[], bool]) -> None:
        self._status = status
        self._metrics = metrics
        self._draining = draining
        self._health: Sequence[ServiceHealth] = ()
        self._asked_s = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    async def answer(self, request: Request) -> Response | None:
        """The response to ``request``; None where it asks for `PATH`, to become a connection."""
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
        """Whether all services of this process are well, and what is amiss with those that are not."""
        if self._asking is None and time.monotonic() - self._asked_s > HEALTH_S:
            self._asking = asyncio.create_task(self._ask())
        if self._asking is not None:
            await asyncio.shield(self._asking)  # one for all who wait: who leaves does not end it for the others
        states = {status.name: status.state for status in self._status.statuses()}
        amiss = {
            each.name: {"state": states.get(each.name, ServiceState.IDLE), "detail": each.detail}
            for each in self._health
            if not each.ok
        }
        ready = not amiss and not self._draining()
        body = json.dumps({"ready": ready, "draining": self._draining(), "not_ready": amiss})
        return _response(http.HTTPStatus.OK if ready else http.HTTPStatus.SERVICE_UNAVAILABLE, _JSON, body)

    async def _ask(self) -> None:
        try:
            self._health = await self._status.health()
            self._asked_s = time.monotonic()
        finally:
            self._asking = None


def turned_away() -> Response:
    """For an address that connects too often, or has too many connections."""
    response = _response(http.HTTPStatus.TOO_MANY_REQUESTS, _JSON, '{"error":"too many connections"}')
    response.headers["Retry-After"] = "10"
    return response


def _response(status: http.HTTPStatus, kind: str, body: str) -> Response:
    data = body.encode()
    headers = Headers({"Content-Type": kind, "Content-Length": str(len(data)), "Connection": "close"})
    headers["Cache-Control"] = "no-store"
    return Response(status.value, status.phrase, headers, data)

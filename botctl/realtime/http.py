"""The HTTP pages ``/healthz``, ``/readyz``, ``/verdict`` and ``/metrics`` of the server, for GET and HEAD.

Everyone may know whether the process runs and is ready, and how the bot is. Why it is not, and the metrics, are for
those who may see them.

``/readyz`` is about this process, since it decides which processes a load balancer uses: a deaf bot must not take all
realtime servers out of it. ``/verdict`` is about the bot, for uptime services.
"""

from __future__ import annotations

import asyncio
import http
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from botctl.core.clock import Clock, iso_ms
from botctl.core.contracts.health import Diagnosis, Health, HealthSource
from botctl.core.contracts.protocols import StatusSource
from botctl.core.contracts.service_state import ServiceHealth, ServiceState
from botctl.core.redact import redact_values
from botctl.core.telemetry.metrics import CONTENT_TYPE, Metrics, render_prometheus
from botctl.realtime.page_access import PageReader, PageRefusal

PATH: Final = "/realtime"
"""Path of the WebSocket endpoint."""
HEALTH_CACHE_S: Final = 1.0  # how long a result is cached, so that frequent probes do not load the stores
_JSON: Final = "application/json"


class StatusPages:
    """Answers HTTP requests. ``draining``: whether the server is about to stop."""

    def __init__(
        self,
        status: StatusSource,
        metrics: Metrics,
        verdicts: HealthSource,
        clock: Clock,
        *,
        draining: Callable[[], bool],
    ) -> None:
        self._status = status
        self._metrics = metrics
        self._verdicts = verdicts
        self._clock = clock
        self._draining = draining
        self._health: Sequence[ServiceHealth] = ()
        self._checked_at_s = float("-inf")
        self._health_task: asyncio.Task[None] | None = None

    async def respond(self, request: Request, reader: PageReader) -> Response:
        """Return the response to ``request`` for a page."""
        if request.method not in ("GET", "HEAD"):
            return refuse(http.HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD", {"Allow": "GET, HEAD"})
        match request.path.partition("?")[0]:
            case "/healthz":
                response = _response(http.HTTPStatus.OK, _JSON, '{"alive":true}')
            case "/readyz":
                response = await self._ready(reader)
            case "/verdict":
                response = await self._verdict(reader)
            case "/metrics":
                refusal = await reader.refusal()
                response = self._metrics_page() if refusal is None else _refused(refusal)
            case _:
                response = refuse(http.HTTPStatus.NOT_FOUND, "there is no such page")
        if request.method == "HEAD":
            response.body = b""
        return response

    def _metrics_page(self) -> Response:
        return _response(http.HTTPStatus.OK, CONTENT_TYPE, render_prometheus(self._metrics))

    async def _ready(self, reader: PageReader) -> Response:
        """Respond with 200 if this process works and all its services are healthy, else with 503 and what is not.

        A reader who may not see that gets the verdict alone, unless it has sent a key that is refused.
        """
        refusal = await reader.refusal()
        if refusal is not None and refusal.given:
            return _refused(refusal)
        if self._health_task is None and time.monotonic() - self._checked_at_s > HEALTH_CACHE_S:
            self._health_task = asyncio.create_task(self._check_health())
        if self._health_task is not None:
            await asyncio.shield(self._health_task)  # shared, so a cancelled request must not cancel it
        states = {status.name: status.state for status in self._status.statuses()}
        failing = [service for service in self._health if not service.ok]
        not_ready = {
            service.name: {
                "state": _failing_state(states.get(service.name, ServiceState.IDLE)),
                "detail": service.detail,
            }
            for service in failing
        }
        found = _including(self._verdicts.of_process(), failing)
        ready = not not_ready and not self._draining() and found.verdict.works
        body: dict[str, object] = {"ready": ready, "verdict": found.verdict}
        if refusal is None:
            body |= _reasons(found) | {"draining": self._draining(), "not_ready": not_ready} | self._shards()
        return _state(body, works=ready)

    async def _verdict(self, reader: PageReader) -> Response:
        """Respond with 200 if the bot works, else with 503. Who sees why is as for ``/readyz``."""
        refusal = await reader.refusal()
        if refusal is not None and refusal.given:
            return _refused(refusal)
        found = self._verdicts.of_bot()
        body: dict[str, object] = {"verdict": found.verdict, "at": iso_ms(self._clock.now())}
        return _state(body | _reasons(found) if refusal is None else body, works=found.verdict.works)

    def _shards(self) -> dict[str, dict[str, int]]:
        """How many shards there are and how many receive events, if the bot is in this process."""
        shards = self._metrics.shards()
        return {"shards": {"all": len(shards), "up": sum(shard.up for shard in shards)}} if shards else {}

    async def _check_health(self) -> None:
        try:
            self._health = await self._status.health()
            self._checked_at_s = time.monotonic()
        finally:
            self._health_task = None


def _failing_state(state: ServiceState) -> ServiceState:
    """The state of a service that is not healthy: one that runs, but whose ping has failed, is not ready."""
    return ServiceState.DEGRADED if state is ServiceState.READY else state


def _including(found: Diagnosis, failing: Sequence[ServiceHealth]) -> Diagnosis:
    """``found``, or what is ``failing`` if that is newer: the verdict is some seconds old, and so may be well yet."""
    if found.verdict is not Health.HEALTHY or not failing:
        return found
    why = "; ".join(f"{service.name}: {service.detail}" for service in failing)
    action = next((service.hint.removesuffix(".") for service in failing if service.hint), "")
    return replace(found, verdict=Health.DEGRADED, why=why, action=action)


def _reasons(found: Diagnosis) -> dict[str, object]:
    """Why the verdict is as it is, what to do, and what it is about."""
    about = {"process": found.proc, "shard": found.shard}
    return {"why": found.why, "action": found.action} | {name: it for name, it in about.items() if it not in ("", None)}


def _state(body: Mapping[str, object], *, works: bool) -> Response:
    return _response(http.HTTPStatus.OK if works else http.HTTPStatus.SERVICE_UNAVAILABLE, _JSON, json.dumps(body))


def refuse(status: http.HTTPStatus, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response that says in one sentence why there is no other one."""
    response = _response(status, _JSON, json.dumps({"error": sentence}))
    for name, value in (headers or {}).items():
        response.headers[name] = value
    return response


def too_many_requests(headers: Mapping[str, str]) -> Response:
    """Return the response for an address that has or opens too many connections."""
    return refuse(http.HTTPStatus.TOO_MANY_REQUESTS, "too many connections", headers)


def _refused(refusal: PageRefusal) -> Response:
    return refuse(refusal.status, refusal.sentence, refusal.headers)


def _response(status: http.HTTPStatus, content_type: str, body: str) -> Response:
    data = redact_values(body).encode()  # the one way out of every page
    headers = Headers({"Content-Type": content_type, "Content-Length": str(len(data)), "Connection": "close"})
    headers["Cache-Control"] = "no-store"
    return Response(status.value, status.phrase, headers, data)

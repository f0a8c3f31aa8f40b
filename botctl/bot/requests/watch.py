"""Watch the requests that disnake sends: count refusals, and stop the repeats of disnake that Discord would refuse too.

disnake sends a request up to five times when the answer is 429. aiohttp's client tracing sees each of these answers
before disnake does, and raises disnake's own error instead of another repeat, see `invalid_requests.may_repeat`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

import aiohttp
import disnake
from aiohttp import TraceConfig, TraceRequestEndParams, TraceRequestExceptionParams, TraceRequestStartParams
from disnake.http import HTTPClient, Route
from disnake.interactions import Interaction
from yarl import URL

from botctl.bot.requests.invalid_requests import TOO_MANY, InvalidRequests, Refusal, is_refusal, may_repeat
from botctl.bot.requests.outcomes import RequestOutcomes
from botctl.core.contracts.discord_access import INVALID_LIMIT, INVALID_WARN_AT
from botctl.core.event_loop.lag import own_lag_s

_CALLBACK: Final = re.compile(r"/interactions/\d+/([^/]+)/callback")
_WEBHOOK: Final = re.compile(r"/webhooks/(\d+)/([^/]+)")
_WARN_EVERY_S: Final = 60.0
_log = logging.getLogger(__name__)


def was_refused(inter: Interaction[Any], error: BaseException | None = None) -> bool:
    """Whether a limit refused the last request of ``inter``, or ended its handler with ``error``.

    Then botctl sends no apology and no deferral: Discord would refuse them too, and count them.
    """
    if isinstance(error, disnake.HTTPException) and error.status == TOO_MANY:
        return True
    requests: InvalidRequests = inter.bot.invalid_requests
    return requests.is_refused(inter.token)


def watch_requests(
    http: HTTPClient, requests: InvalidRequests, outcomes: RequestOutcomes, application_id: Callable[[], int]
) -> None:
    """Record all requests of ``http``, and those of interactions, which use its session."""
    watch = _Watch(requests, outcomes, application_id)
    trace = TraceConfig()
    trace.on_request_start.append(watch.before_request)
    trace.on_request_end.append(watch.after_answer)
    trace.on_request_exception.append(watch.after_failure)
    trace.freeze()

    async def request(route: Route, **options: Any) -> Any:
        session: aiohttp.ClientSession = getattr(http, f"_{HTTPClient.__name__}__session")  # disnake makes it at login
        if trace not in session.trace_configs:
            session.trace_configs.append(trace)
        return await type(http).request(http, route, **options)  # looked up late: `outgoing` replaces it

    http.request = request  # type: ignore[method-assign]


@dataclass(eq=False)
class _Watch:
    requests: InvalidRequests
    outcomes: RequestOutcomes
    application_id: Callable[[], int]
    _repeating: WeakKeyDictionary[asyncio.Task[Any], tuple[str, URL]] = field(default_factory=WeakKeyDictionary)
    _warned_s: float = float("-inf")

    async def before_request(self, _session: Any, _context: Any, request: TraceRequestStartParams) -> None:
        """Wait until Discord takes requests of the interaction again; it said for how long it refuses them."""
        token = self._token(request.url)
        if token is not None and (wait_s := self.requests.wait_s(token)):
            await asyncio.sleep(wait_s)

    async def after_answer(self, _session: Any, _context: Any, answer: TraceRequestEndParams) -> None:
        """Record the answer. Raises HTTPException if disnake would send a refused request again and may not."""
        if not str(answer.url).startswith(Route.BASE):  # the gateway, or files
            return
        self.outcomes.record(answer.response.status, answer.response.headers)
        task, request = asyncio.current_task(), (answer.method, answer.url)
        is_repeat = task is not None and self._repeating.pop(task, None) == request
        token = self._token(answer.url)
        if not is_refusal(answer.response.status):
            if token is not None:
                self.requests.record_success(token)
            return
        body = _parse(await answer.response.text(encoding="utf-8", errors="replace"))
        refusal = self._record(answer.response, body, token)
        if refusal.status != TOO_MANY or "Via" not in answer.response.headers:
            return  # disnake raises its error
        if not may_repeat(refusal, repeats=int(is_repeat), recent=self.requests.recent()):
            raise disnake.HTTPException(answer.response, body)
        if task is not None:
            self._repeating[task] = request

    async def after_failure(self, _session: Any, _context: Any, failed: TraceRequestExceptionParams) -> None:
        """Record a request without an answer, unless the delays of this process explain it. Others raise here too."""
        error = failed.exception
        is_lost = isinstance(error, OSError | aiohttp.ClientError)  # TimeoutError is an OSError
        if is_lost and str(failed.url).startswith(Route.BASE) and not own_lag_s(error):
            self.outcomes.record_unreachable()

    def _record(self, response: aiohttp.ClientResponse, body: Any, token: str | None) -> Refusal:
        retry_after_s = _seconds(body.get("retry_after")) if isinstance(body, dict) else 0.0
        refusal = Refusal(response.status, response.headers.get("X-RateLimit-Scope", ""), retry_after_s, token)
        self.requests.record(refusal)
        self._warn()
        return refusal

    def _token(self, url: URL) -> str | None:
        """The token of the interaction that a request to ``url`` answers. Webhooks of channels have a token too."""
        if match := _CALLBACK.search(url.path):
            return match[1]
        match = _WEBHOOK.search(url.path)
        return match[2] if match and int(match[1]) == self.application_id() else None

    def _warn(self) -> None:
        recent, now = self.requests.recent(), time.monotonic()
        if recent >= INVALID_WARN_AT and now - self._warned_s >= _WARN_EVERY_S:
            self._warned_s = now
            template = "Discord refused %s requests in ten minutes (%s); at %s it bans the address of this host"
            kinds = ", ".join(f"{kind}: {count:,}" for kind, count in self.requests.refusals.most_common())
            _log.warning(template, f"{recent:,}", kinds, f"{INVALID_LIMIT:,}")


def _parse(text: str) -> Any:
    """The JSON in ``text``, else ``text``: Cloudflare sends HTML."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _seconds(value: object) -> float:
    """A valid ``retry_after``; 0 if it is not."""
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return max(0.0, float(value)) if is_number else 0.0  # type: ignore[arg-type]

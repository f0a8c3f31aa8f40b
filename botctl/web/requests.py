"""What every request passes: where it comes from, whose it is, and that a change is meant.

`guarded` is the one middleware: it checks, calls the handler, turns errors into responses, sets headers and cookies.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from botctl.core.contracts.access import AccessControl
from botctl.core.contracts.sessions import Session
from botctl.core.contracts.throttle import address_subject
from botctl.core.errors import ANYTHING, BotctlError, UsageError
from botctl.core.escape import safe, without_surrogates
from botctl.core.event_loop.tasks import is_own_cancellation
from botctl.core.http.proxies import Network, client_address
from botctl.core.ids import error_id
from botctl.web.responses import RequestRefused, json_error, page
from botctl.web.rules import RequestFacts, Site, request_fault
from botctl.web.visitors import Visit, Visitors

MAX_BODY_BYTES: Final = 16_384
BODY_S: Final = 10.0
CSRF_HEADER: Final = "X-CSRF-Token"
_RETRY_S: Final = "5"
_MAX_AGENT: Final = 200
_MAX_PATH: Final = 100  # in a log line
_log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(eq=False)
class RequestContext:
    """What handlers need of a request, beside the request. ``cookies``: to set; None deletes."""

    site: Site
    visitors: Visitors
    access: AccessControl
    address: str  # as `throttle.address_subject`
    cookies: dict[str, tuple[str, int] | None] = field(default_factory=dict)  # text and seconds
    visit: Visit | None = None

    async def session(self, request: web.Request) -> Session | None:
        """The session of the request's cookie, if there is one. Raises Unreachable."""
        if self.visit is None and (text := request.cookies.get(self.site.session_cookie)):
            self.visit = await self.visitors.visit(text)
            if self.visit is None:
                self.cookies[self.site.session_cookie] = None
            elif self.visit.new_text is not None:
                self.set_session(self.visit.new_text, self.visit.session)
        return None if self.visit is None else self.visit.session

    async def require_session(self, request: web.Request) -> Session:
        """The session. Raises RequestRefused without one, and for a change without its token."""
        session = await self.session(request)
        if session is None:
            raise RequestRefused(401, "You are not signed in, or your session has ended.")
        token = request.headers.get(CSRF_HEADER, "")
        is_read = request.method in ("GET", "HEAD")
        is_known = bool(session.csrf) and hmac.compare_digest(token.encode("utf-8", "replace"), session.csrf.encode())
        if not is_read and not is_known:
            raise RequestRefused(403, f"A change needs the header {CSRF_HEADER} with the csrf of /api/me.")
        return session

    def require(self, session: Session, permission: str, guild: str | None = None) -> None:
        """Raise RequestRefused unless ``session`` has ``permission`` in ``guild`` (None: for the bot)."""
        if not self.access.decide(session.requester(guild), permission, guild).allowed:
            place = "for the whole bot" if guild is None else f"in guild {guild}"
            raise RequestRefused(403, f"That needs the permission {permission} {place}.")

    def set_session(self, text: str, session: Session) -> None:
        seconds = int((session.expires_at - session.seen_at).total_seconds())
        self.cookies[self.site.session_cookie] = (text, max(1, seconds))


CONTEXT: Final = web.RequestKey("context", RequestContext)


def user_agent(request: web.Request) -> str:
    """The browser, as it calls itself."""
    return without_surrogates(request.headers.get("User-Agent", ""))[:_MAX_AGENT]


async def json_body(request: web.Request) -> dict[str, Any]:
    """The object in the body; empty without a body. Raises RequestRefused."""
    if request.content_type != "application/json" and request.can_read_body:
        raise RequestRefused(400, "The body must be JSON, with the content type application/json.")
    try:
        async with asyncio.timeout(BODY_S):
            value = json.loads(await request.read() or b"{}")
    except TimeoutError:
        raise RequestRefused(408, f"The body did not come within {BODY_S:g} s.") from None
    except (ValueError, RecursionError):
        raise RequestRefused(400, "The body is not JSON.") from None
    if not isinstance(value, dict):
        raise RequestRefused(400, "The body must be a JSON object.")
    return value


def guarded(
    site: Site,
    visitors: Visitors,
    access: AccessControl,
    proxies: Sequence[Network],
    realtime_url: Callable[[], str | None],
    *,
    on_request: Callable[[object], None],
) -> Middleware:
    """The middleware of the server. ``on_request`` gets the connection of each request."""

    @web.middleware
    async def call(request: web.Request, handler: Handler) -> web.StreamResponse:
        on_request(request.protocol)
        peer = request.remote or ""
        address = address_subject(client_address(peer, lambda name: request.headers.getall(name, ()), proxies))
        context = request[CONTEXT] = RequestContext(site, visitors, access, address)
        if fault := request_fault(site, _facts(request)):
            response: web.StreamResponse = _error(request, *fault)
        else:
            response = await _answer(request, handler)
        for name, value in site.headers(realtime_url()).items():
            response.headers[name] = value
        for name, cookie in context.cookies.items():
            _set_cookie(response, site, name, cookie)
        return response

    return call


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What ``handler`` returns, or the response for what it raises."""
    try:
        return await handler(request)
    except RequestRefused as error:
        return _error(request, error.status, str(error), error.headers)
    except web.HTTPException as error:  # of aiohttp itself: no such page, a body that is too large
        return _error(request, error.status, _SENTENCES.get(error.status, error.reason))
    except BotctlError as error:
        return _describe_failure(request, error)
    except ANYTHING as error:
        if is_own_cancellation(error):
            raise
        number = error_id()
        _log.exception("a request for %s failed (error %s)", safe(request.path, _MAX_PATH), number)
        return _error(request, 500, f"That failed. The log says why: look for error {number}.")


def _describe_failure(request: web.Request, error: BotctlError) -> web.Response:
    """The response for an expected failure: of a wrong argument, of a store, or of the settings."""
    if isinstance(error, UsageError):
        return _error(request, 400, _sentence(error))
    _log.info("a request is refused: %s", error)
    if error.transient:
        return _error(request, 503, f"{error} Try again in a moment.", {"Retry-After": _RETRY_S})
    return _error(request, 503, _sentence(error))


_SENTENCES: Final = {
    404: "There is no such page.",
    405: "That address does not take this method.",
    413: f"The body may have {MAX_BODY_BYTES:,} bytes.",
}


def _sentence(error: BotctlError) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]} {error.hint}".rstrip()


def _error(request: web.Request, status: int, sentence: str, headers: Any = None) -> web.Response:
    """A JSON error for the API, a page for people."""
    if request.path.startswith("/api/"):
        return json_error(status, sentence, headers)
    response = page("That did not work", sentence, status=status, link=("/", "Back to the page"))
    response.headers.update(headers or {})
    return response


def _facts(request: web.Request) -> RequestFacts:
    get = request.headers.getall
    site = request.headers.get("Sec-Fetch-Site", "").lower()
    return RequestFacts(request.method, request.path, get("Host", ()), get("Origin", ()), site)


def _set_cookie(response: web.StreamResponse, site: Site, name: str, cookie: tuple[str, int] | None) -> None:
    text, seconds = cookie or ("", 0)
    response.set_cookie(name, text, max_age=seconds, path="/", secure=site.secure, httponly=True, samesite="Lax")

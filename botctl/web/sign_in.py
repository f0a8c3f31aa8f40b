"""Sign in: with Discord (OAuth2, authorization code with PKCE), or with a one-time link of the operator."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from aiohttp import web

from botctl.core.clock import Clock
from botctl.core.contracts.access import AccessControl
from botctl.core.contracts.audit_entry import AuditOutcome, Change, Principal, Target, make_entry
from botctl.core.contracts.callers import rights_of
from botctl.core.contracts.protocols import Auditor, Limiter
from botctl.core.contracts.sessions import OneTimeTokens, Session, SessionSource, SessionStore, new_session_id
from botctl.core.contracts.throttle import Limit, Scope
from botctl.core.errors import Unreachable
from botctl.core.http.rate_limit_headers import throttled_headers
from botctl.web.discord_api import DiscordApi, DiscordUser
from botctl.web.oauth import OAuthApplication, OAuthRefused, authorize_query, new_verifier, parse_callback
from botctl.web.requests import CONTEXT, RequestContext, user_agent
from botctl.web.responses import RequestRefused, page, redirect
from botctl.web.rules import SHELL, local_path
from botctl.web.visitors import Visitors

POLICY: Final = "web.sign-in"
STATE_S: Final = 600
"""How long a sign-in at Discord may take."""
LINK_SESSION_S: Final = 28_800
"""How long a session by a link lasts at most: 8 hours."""
_STATE: Final = "sign-in"
_BROWSER_BYTES: Final = 32
_TRY_AGAIN: Final = ("/auth/login", "Try again")
_TO_PAGE: Final = ("/", "To the page")
_LINK_ENDED: Final = "This link was used already, or is too old. `botctl auth link` makes another one."
_log = logging.getLogger(__name__)


class Lifetimes(NamedTuple):
    """How long sessions last at most, whatever happens."""

    discord: timedelta
    link: timedelta


class SignIn:
    """The handlers of ``/auth``. ``application``: None if signing in with Discord is not set up."""

    def __init__(
        self,
        *,
        application: OAuthApplication | None,
        discord: DiscordApi,
        sessions: SessionStore,
        tokens: OneTimeTokens,
        visitors: Visitors,
        access: AccessControl,
        limiter: Limiter,
        limits: Sequence[Limit],
        auditor: Auditor,
        clock: Clock,
        lifetimes: Lifetimes,
    ) -> None:
        self._application = application
        self._discord = discord
        self._sessions = sessions
        self._tokens = tokens
        self._visitors = visitors
        self._access = access
        self._limiter = limiter
        self._limits = tuple(limits)
        self._auditor = auditor
        self._clock = clock
        self._lifetimes = lifetimes

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/auth/login", self.login),
            web.get("/auth/callback", self.callback),
            web.get("/auth/link/{token}", self.show_link),
            web.post("/auth/link/{token}", self.open_link),
        ]

    async def login(self, request: web.Request) -> web.StreamResponse:
        """Send the browser to Discord's consent page."""
        context = request[CONTEXT]
        await self._throttle(context)
        application = self._require_application()
        to = local_path(request.query.get("to"))
        if f"{request.scheme}://{request.host}".lower() != context.site.url and not context.site.secure:
            query = urlencode({"to": to})
            return redirect(f"{context.site.url}/auth/login?{query}")  # cookies are bound to the host name
        cookie = context.site.sign_in_cookie
        browser = request.cookies.get(cookie, "")
        if len(browser) != len(secrets.token_hex(_BROWSER_BYTES)) or not browser.isalnum():
            browser = secrets.token_hex(_BROWSER_BYTES)
        verifier = new_verifier()
        state = await self._tokens.put(_STATE, {"verifier": verifier, "to": to, "browser": _hash(browser)}, STATE_S)
        context.cookies[cookie] = (browser, STATE_S)
        return redirect(f"{self._discord.consent_page}?{authorize_query(application, state, verifier)}")

    async def callback(self, request: web.Request) -> web.StreamResponse:
        """The browser comes back from Discord."""
        context = request[CONTEXT]
        await self._throttle(context)
        application = self._require_application()
        try:
            started = await self._take_state(request, context)
            code = parse_callback(application, dict(request.query), request.query.get("state", ""))
            person = await self._discord.identify(application, code, started["verifier"])
        except OAuthRefused as error:
            self._report_refused(context, str(error))
            return page("You are not signed in", str(error), status=400, link=_TRY_AGAIN)
        except Unreachable as error:
            sentence = f"{error} Sign in later; the operator of the bot can use `botctl auth link` now."
            return page("You are not signed in", sentence, status=503, link=_TRY_AGAIN)
        session = await self._new_session(person, context, request)
        if session is None:
            sentence = "Discord did not say which roles you have. Try again in a moment."
            return page("You are not signed in", sentence, status=503, link=_TRY_AGAIN)
        await self._begin(session, context, request)
        return redirect(started["to"], status=303)

    async def show_link(self, request: web.Request) -> web.StreamResponse:
        """Ask for one more click: chat programs open links to preview them, which must not use the link up."""
        context, token = request[CONTEXT], _token(request)
        await self._throttle(context)
        link = await self._sessions.find_link(token)
        if link is None:
            return page("This link does not open", _LINK_ENDED, status=410, link=_TO_PAGE)
        hours = self._lifetimes.link.total_seconds() / 3600
        sentence = (
            f"This link signs you in to {context.site.bot} as {link.role}, once, until {link.expires_at:%H:%M} UTC on"
            f" {link.expires_at:%Y-%m-%d}. Your session then lasts {hours:g} hours at most."
        )
        return page(f"Sign in to {context.site.bot}", sentence, form=f"/auth/link/{token}")

    async def open_link(self, request: web.Request) -> web.StreamResponse:
        context = request[CONTEXT]
        await self._throttle(context)
        link = await self._sessions.open_link(_token(request))
        if link is None:
            self._report_refused(context, "a link that was used, or is too old")
            return page("You are not signed in", _LINK_ENDED, status=400, link=_TO_PAGE)
        session = self._session(SessionSource.LINK, self._lifetimes.link, context, request)
        session = replace(session, role=link.role, made_by=link.made_by)
        await self._begin(session, context, request, [Change("link", None, link.id), Change("role", None, link.role)])
        return redirect(SHELL, status=303)

    async def _take_state(self, request: web.Request, context: RequestContext) -> Mapping[str, Any]:
        """What `login` has stored. Raises OAuthRefused if this browser has not begun this sign-in, or long ago."""
        started = await self._tokens.take(_STATE, request.query.get("state", ""))
        browser = request.cookies.get(context.site.sign_in_cookie, "")
        if started is None or not hmac.compare_digest(_hash(browser), started["browser"]):
            raise OAuthRefused("This sign-in was not begun in this browser, was used already, or took too long.")
        return started

    async def _new_session(self, person: DiscordUser, context: RequestContext, request: web.Request) -> Session | None:
        now = self._clock.now()
        try:
            roles = await self._visitors.member_roles(person.id)
        except Unreachable as error:
            _log.info("user %s cannot sign in: %s", person.id, error)
            return None
        session = self._session(SessionSource.DISCORD, self._lifetimes.discord, context, request)
        return replace(session, user=person.id, name=person.name, checked_at=now, member_roles=roles)

    def _session(
        self, source: SessionSource, lifetime: timedelta, context: RequestContext, request: web.Request
    ) -> Session:
        now = self._clock.now()
        return Session(
            id=new_session_id(),
            source=source,
            created_at=now,
            seen_at=now,
            expires_at=now + lifetime,
            csrf=secrets.token_urlsafe(32),
            address=context.address,
            user_agent=user_agent(request),
        )

    async def _begin(
        self, session: Session, context: RequestContext, request: web.Request, changes: Sequence[Change] = ()
    ) -> None:
        """Store a new session, end the one that the browser had, and set the cookie."""
        session = replace(session, rights=rights_of(self._access.rules, session, self._clock.now()))
        before = await self._sessions.find(request.cookies.get(context.site.session_cookie, ""))
        text = await self._sessions.create(session)
        if before is not None:
            await self._sessions.revoke(before.session.id, actor=session.principal(), reason="signed in again")
        context.set_session(text, session)
        target = Target("session", session.id)
        changes = [Change("source", None, str(session.source)), *changes]
        self._record(session.principal(), target=target, changes=changes)

    def _report_refused(self, context: RequestContext, reason: str) -> None:
        self._record(Principal("address", context.address), outcome=AuditOutcome.DENIED, reason=reason)

    def _record(self, actor: Principal, **fields: Any) -> None:
        self._auditor.record(make_entry("session.begin", actor, at=self._clock.now(), iface="api", **fields))

    async def _throttle(self, context: RequestContext) -> None:
        """Raise RequestRefused if the address has tried too often."""
        verdict = await self._limiter.check_subjects(POLICY, {Scope.ADDRESS: context.address}, self._limits)
        if not verdict.allowed:
            headers = throttled_headers(POLICY, self._limits, verdict.limit, verdict.retry_after_s)
            raise RequestRefused(429, "Too many attempts to sign in. Wait a little.", headers=headers)

    def _require_application(self) -> OAuthApplication:
        if self._application is None:
            raise RequestRefused(
                503,
                "Signing in with Discord is not set up: the operator has to set auth.client_id and auth.client_secret."
                " Until then, `botctl auth link` makes a link.",
            )
        return self._application


def _token(request: web.Request) -> str:
    """The token in the path. Raises RequestRefused if it cannot be one."""
    token = request.match_info["token"]
    if not token.replace("-", "").replace("_", "").isalnum() or not token.isascii():
        raise RequestRefused(404, _LINK_ENDED)
    return token


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()

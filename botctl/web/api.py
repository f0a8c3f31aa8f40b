"""The JSON API of the page, apart from the audit log: who I am, why I may do something, sessions, tickets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from botctl.core.clock import Clock, iso_ms
from botctl.core.config.value_types import DISCORD_ID
from botctl.core.contracts.access import AccessControl, AnyRole, held_permissions, held_roles
from botctl.core.contracts.access_text import explain
from botctl.core.contracts.audit_entry import MAX_REASON
from botctl.core.contracts.callers import guilds_of
from botctl.core.contracts.command_access import KnownCommands, explain_need
from botctl.core.contracts.guild_settings import DEFAULTS
from botctl.core.contracts.permissions import PERMISSIONS, SESSIONS_ADMIN, is_permission
from botctl.core.contracts.protocols import GuildSettingsStore
from botctl.core.contracts.sessions import TICKET_S, Session, SessionStore
from botctl.core.escape import safe
from botctl.core.suggest import suggest
from botctl.core.version import __version__
from botctl.web.requests import CONTEXT, json_body
from botctl.web.responses import RequestRefused, json_response

_MAX_NEED: Final = 60


class Api:
    """The handlers. ``realtime_url``: where the realtime server is now, if it runs."""

    def __init__(
        self,
        *,
        bot: str,
        sessions: SessionStore,
        access: AccessControl,
        commands: KnownCommands,
        guilds: GuildSettingsStore,
        clock: Clock,
        realtime_url: Callable[[], str | None],
    ) -> None:
        self._bot = bot
        self._sessions = sessions
        self._access = access
        self._commands = commands
        self._guilds = guilds
        self._clock = clock
        self._realtime_url = realtime_url

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/me", self.me),
            web.get("/api/site", self.site),
            web.get("/api/permissions", self.permissions),
            web.get("/api/explain", self.explain),
            web.get("/api/sessions", self.list_sessions),
            web.post("/api/sessions/{id}/end", self.end_session),
            web.post("/api/sign-out", self.sign_out),
            web.post("/api/ticket", self.ticket),
        ]

    async def me(self, request: web.Request) -> web.StreamResponse:
        session = await request[CONTEXT].require_session(request)
        guilds = guilds_of(self._access.rules, session)
        return json_response(
            {
                "bot": self._bot,
                "user": {"id": session.user, "name": session.name or f"link of {session.made_by}"},
                "source": str(session.source),
                "session": {name: session.as_json()[name] for name in ("id", "created_at", "seen_at", "expires_at")},
                "checked_at": session.checked_at and iso_ms(session.checked_at),
                "csrf": session.csrf,
                "realtime": self._realtime_url(),
                "version": __version__,
                "permissions": self._permissions(session, None),
                "roles": [role for guild in (None, *guilds) for role in self._roles(session, guild)],
                "guilds": [{"id": guild, "permissions": self._permissions(session, guild)} for guild in guilds],
            }
        )

    async def site(self, _: web.Request) -> web.StreamResponse:
        """For everyone: whose page this is."""
        return json_response({"bot": self._bot})

    async def permissions(self, request: web.Request) -> web.StreamResponse:
        """Every permission, and what it allows."""
        await request[CONTEXT].require_session(request)
        return json_response(dict(PERMISSIONS))

    async def explain(self, request: web.Request) -> web.StreamResponse:
        session = await request[CONTEXT].require_session(request)
        need, guild = request.query.get("need", ""), parse_guild(request)
        if self._commands.roles is None and not is_permission(need):
            raise RequestRefused(400, _describe_unknown(need))
        commands, settings = self._commands.roles or {}, DEFAULTS if guild is None else await self._guilds.get(guild)
        told = explain_need(
            need, commands, session.requester(guild), self._access, guild=guild, settings=settings, who=_name(session)
        )
        lines = [told.answer, *told.steps, *([told.change] if told.change else [])]
        return json_response({"allowed": told.allowed, "lines": lines})

    async def list_sessions(self, request: web.Request) -> web.StreamResponse:
        context = request[CONTEXT]
        session = await context.require_session(request)
        if request.query.get("all") == "1":
            context.require(session, SESSIONS_ADMIN)
            found = await self._sessions.list()
        else:
            found = await self._own(session)
        return json_response([{**each.as_json(), "current": each.id == session.id} for each in found])

    async def end_session(self, request: web.Request) -> web.StreamResponse:
        context = request[CONTEXT]
        session = await context.require_session(request)
        reason = _reason(await json_body(request))
        wanted = request.match_info["id"]
        is_own = wanted in {each.id for each in await self._own(session)}
        if not is_own:
            context.require(session, SESSIONS_ADMIN)
        ended = await self._sessions.revoke(wanted, actor=session.principal(), reason=reason or "ended on the page")
        if ended is None:
            raise RequestRefused(404, "There is no such session; it may have ended.")
        if ended.id == session.id:
            context.cookies[context.site.session_cookie] = None
        return web.Response(status=204)

    async def sign_out(self, request: web.Request) -> web.StreamResponse:
        context = request[CONTEXT]
        session = await context.require_session(request)
        everywhere = (await json_body(request)).get("everywhere", False)
        if not isinstance(everywhere, bool):
            raise RequestRefused(400, "everywhere must be true or false.")
        actor = session.principal()
        if everywhere and session.user:
            await self._sessions.revoke_all(session.user, actor=actor, reason="signed out everywhere")
        else:
            await self._sessions.revoke(session.id, actor=actor, reason="signed out")
        context.cookies[context.site.session_cookie] = None
        return web.Response(status=204)

    async def ticket(self, request: web.Request) -> web.StreamResponse:
        session = await request[CONTEXT].require_session(request)
        return json_response({"ticket": await self._sessions.ticket(session), "expires_s": TICKET_S})

    async def _own(self, session: Session) -> list[Session]:
        """The sessions of the same person; of a link, only itself."""
        return await self._sessions.list(session.user) if session.user else [session]

    def _permissions(self, session: Session, guild: str | None) -> list[str]:
        return sorted(held_permissions(self._access.rules, session.requester(guild), guild, self._clock.now()))

    def _roles(self, session: Session, guild: str | None) -> list[dict[str, Any]]:
        """The roles in ``guild`` (without those for the whole bot), each with the reasons."""
        rules, now = self._access.rules, self._clock.now()
        names = held_roles(rules, session.requester(guild), guild, now)
        if guild is not None:
            names -= held_roles(rules, session.requester(), None, now)
        return [{"role": name, "guild": guild, "steps": self._why(session, name, guild)} for name in sorted(names)]

    def _why(self, session: Session, role: str, guild: str | None) -> list[str]:
        decision = self._access.decide(session.requester(guild), AnyRole((role,)), guild)
        return [step for step in explain(decision).steps if step.startswith("yes")]


def _describe_unknown(need: str) -> str:
    """What to do about a ``need`` that is no permission, where the process has loaded no commands."""
    shown = safe(need, _MAX_NEED)
    if need.startswith("/"):
        return f'{shown} is a command. `botctl auth explain WHO "{shown}"` explains it in a terminal.'
    return f"There is no permission {shown!r}{suggest(need, list(PERMISSIONS))} A permission is for example jobs:run."


def parse_guild(request: web.Request) -> str | None:
    """The guild of the query. Raises RequestRefused if it is no id."""
    guild = request.query.get("guild")
    if guild is not None and not DISCORD_ID.matches(guild):
        raise RequestRefused(400, f"guild must be {DISCORD_ID.description}.")
    return guild


def _name(session: Session) -> str:
    return session.name or "This session"


def _reason(body: dict[str, Any]) -> str:
    reason = body.get("reason", "")
    if not isinstance(reason, str) or len(reason) > MAX_REASON or (reason and not reason.isprintable()):
        raise RequestRefused(400, f"reason must be text of at most {MAX_REASON} characters.")
    return reason

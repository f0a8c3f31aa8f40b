"""The web server in the test's own process, on real sockets and a real Redis; and a browser without a screen."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from redis.asyncio import Redis
from yarl import URL

from botctl.audit.pages import audit_reader
from botctl.auth.access_control import access_control
from botctl.auth.grants import role_grants
from botctl.auth.one_time import one_time_tokens
from botctl.auth.sessions import sessions
from botctl.auth.signing import document_signer
from botctl.core.clock import Clock, SystemClock
from botctl.core.config.settings import AuthSettings, RoleSettings, Settings, WebSettings
from botctl.core.contracts.access import AccessControl
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.command_access import KnownCommands
from botctl.core.contracts.discord_access import DiscordAccess
from botctl.core.contracts.event_log import EventLog
from botctl.core.contracts.events import Event
from botctl.core.contracts.grants import GrantStore
from botctl.core.contracts.invocation import Kind
from botctl.core.contracts.protocols import Auditor, GuildSettingsStore, Limiter
from botctl.core.contracts.sessions import SessionStore
from botctl.core.processes.runtime import Runtime
from botctl.core.services.registry import Registry, RunningServices, Tasks
from botctl.events.log import event_log
from botctl.events.relay import Relay, relay
from botctl.guilds.store import guild_settings_store
from botctl.ratelimit.limiter import RedisLimiter
from botctl.sandbox.model.tokens import client_secret
from botctl.stores.mongo import Database
from botctl.web.server import WebServer, web_server
from tests.support.discord import ADMIN, BOT, MODERATOR, SECRET, TOKEN
from tests.support.mongo_memory import MemoryDatabase
from tests.support.realtime import RecordingAuditor
from tests.support.waiting import LIMIT_S

COOKIE = "botctl-bot-session"
ROLES = {
    "admin": RoleSettings(roles=(ADMIN,), permissions=("admin",)),
    "moderator": RoleSettings(roles=(ADMIN, MODERATOR), permissions=("viewer",)),
}
"""Of the settings: in the sandbox ann has both Discord roles, bob the second one, cat none."""
COMMANDS = KnownCommands({(Kind.SLASH, "ops status"): ("admin", "moderator"), (Kind.SLASH, "ping"): ()})


@dataclass
class WebRig:
    """A running server with its services."""

    server: WebServer
    running: RunningServices
    bus: Bus
    auditor: RecordingAuditor
    events: list[Event] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def sessions(self) -> SessionStore:
        return self.running.get(SessionStore)

    @property
    def grants(self) -> GrantStore:
        return self.running.get(GrantStore)

    @property
    def guilds(self) -> GuildSettingsStore:
        return self.running.get(GuildSettingsStore)

    @property
    def access(self) -> AccessControl:
        return self.running.get(AccessControl)

    @property
    def log(self) -> EventLog:
        return self.running.get(EventLog)

    def audited(self, action: str) -> list[tuple[str, str, str | None]]:
        """The outcome, the actor's id and the reason of the entries of ``action``."""
        found = [entry for entry in self.auditor.entries if entry.action == action]
        return [(str(entry.outcome), entry.actor.id, entry.reason) for entry in found]


@asynccontextmanager
async def patient_limiter(redis: Redis, settings: Settings, tasks: Tasks) -> AsyncIterator[Limiter]:
    """A limiter that also waits for Redis on a loaded machine, instead of counting alone."""
    async with RedisLimiter(redis, settings.bot, tasks, LIMIT_S).running() as limiter:
        yield limiter


@asynccontextmanager
async def serving_web(
    redis: Redis,
    root: Path,
    discord_url: str,
    *,
    database: Any = None,
    auth: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
    commands: KnownCommands = COMMANDS,
    **options: Any,
) -> AsyncIterator[WebRig]:
    """A server with ``options`` of ``[web]`` and ``auth`` of ``[auth]``, whose Discord is at ``discord_url``."""
    bus, auditor = Bus(), RecordingAuditor()
    registry = Registry(publish=bus.publish)
    web = WebSettings(**({"sign_in_throttle": "10000/1m per address"} | options))
    values: dict[Any, Any] = {
        Settings: Settings(
            web=web,
            auth=AuthSettings(**{"secret": "a secret of all processes of the bot", **(auth or {})}),
            roles=ROLES,
        ),
        Redis: redis,
        Database: database or MemoryDatabase(),
        Bus: bus,
        Clock: clock or SystemClock(),
        Runtime: Runtime(root, long_lived=True),
        Auditor: auditor,
        KnownCommands: commands,
        DiscordAccess: DiscordAccess(TOKEN, discord_url, client_id=BOT, client_secret=client_secret(SECRET, BOT)),
    }
    for key, value in values.items():
        registry.value(key, value)
    services = (event_log, relay, patient_limiter, document_signer, role_grants, access_control)
    for factory in (*services, one_time_tokens, sessions, audit_reader, guild_settings_store):
        registry.add(factory)
    registry.add(web_server, name="web", depends_on=[Relay], ping=WebServer.ping)
    events: list[Event] = []
    async with registry.open() as running:
        with bus.listen(events.append, Event):
            yield WebRig(running.get(WebServer), running, bus, auditor, events)


@dataclass
class Reply:
    """What the browser got."""

    status: int
    text: str
    headers: Mapping[str, str]
    cookies: list[str]  # the Set-Cookie headers

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def location(self) -> URL:
        return URL(self.headers["Location"])


class Browser:
    """Keeps cookies, and sends the headers that a browser sends with requests of the page ``url``."""

    def __init__(self, http: aiohttp.ClientSession, url: str, cookie_name: str = COOKIE) -> None:
        self.http = http
        self.url = url
        self.cookie_name = cookie_name
        self.csrf = ""

    async def request(self, method: str, path: str, *, json: Any = None, **headers: str | None) -> Reply:
        """A request of the page, with its Origin and CSRF token. A header that is None is left out."""
        sent: dict[str, str | None] = {"Sec-Fetch-Site": "same-origin"}
        if method != "GET":
            sent |= {"Origin": self.url, "X-CSRF-Token": self.csrf}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        given = {name: value for name, value in sent.items() if value is not None}
        url = URL(path if path.startswith("http") else f"{self.url}{path}", encoded=True)
        async with self.http.request(method, url, json=json, headers=given, allow_redirects=False) as response:
            cookies = response.headers.getall("Set-Cookie", [])
            return Reply(response.status, await response.text(), response.headers, list(cookies))

    async def get(self, path: str, **headers: str | None) -> Reply:
        return await self.request("GET", path, **headers)

    async def post(self, path: str, *, json: Any = None, **headers: str | None) -> Reply:
        return await self.request("POST", path, json=json, **headers)

    async def me(self) -> Any:
        """``/api/me``; None without a session. Keeps the CSRF token."""
        reply = await self.get("/api/me")
        if reply.status != 200:
            assert reply.status == 401, reply.text
            return None
        self.csrf = reply.json["csrf"]
        return reply.json

    async def consent(self, person: str, to: str = "/") -> URL:
        """Begin to sign in, and consent at Discord as ``person``. Returns where Discord sends the browser."""
        began = await self.get(f"/auth/login?to={to}")
        assert began.status == 302, began.text
        return await answer_consent(self.http, began.location, person)

    async def sign_in(self, person: str, to: str = "/") -> Reply:
        """Sign in as ``person`` (a user's id); returns the last response."""
        reply = await self.get(str(await self.consent(person, to)), Sec_Fetch_Site="cross-site")
        if reply.status == 303:
            await self.me()
        return reply

    def cookie(self) -> str:
        """The text of the session; empty without one."""
        found = self.http.cookie_jar.filter_cookies(URL(self.url)).get(self.cookie_name)
        return "" if found is None else found.value

    def set_cookie(self, text: str) -> None:
        self.http.cookie_jar.update_cookies({self.cookie_name: text}, URL(self.url))


async def answer_consent(http: aiohttp.ClientSession, page: URL, person: str, answer: str = "allow") -> URL:
    """Answer Discord's consent page; returns where it sends the browser."""
    form = {**page.query, "person": person, "answer": answer}
    async with http.post(page.with_query(None), data=form, allow_redirects=False) as response:
        assert response.status == 302, await response.text()
        return URL(response.headers["Location"], encoded=True)


@asynccontextmanager
async def browser(url: str, *, cookie_name: str = COOKIE, trusted: Path | None = None) -> AsyncIterator[Browser]:
    """A browser without cookies, for the page at ``url``. ``trusted``: a certificate that it trusts."""
    context = ssl.create_default_context(cafile=trusted)
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), connector=connector) as http:
        yield Browser(http, url, cookie_name)

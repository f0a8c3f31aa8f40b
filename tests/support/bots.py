"""A real bot (disnake's client, botctl's pipeline) and a sandbox in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from botctl.auth.access_control import CurrentAccess
from botctl.auth.settings_grants import settings_grants
from botctl.bot.catalog import Catalog
from botctl.bot.commands.compiled import ValidationContext
from botctl.bot.loader import load
from botctl.bot.service import BotService, bot_service
from botctl.core.clock import Clock, SystemClock
from botctl.core.config.settings import RoleSettings, Settings
from botctl.core.contracts.access import AccessControl
from botctl.core.contracts.audit_entry import AuditEntry
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.discord_access import DiscordAccess, TokenFound
from botctl.core.contracts.events import CommandFinished, Event
from botctl.core.contracts.guild_settings import DEFAULTS, GuildSettings, with_change
from botctl.core.contracts.invocation import Invocation
from botctl.core.contracts.logins import LoginGate, OpenGate
from botctl.core.contracts.protocols import Auditor, GuildSettingsStore, Limiter
from botctl.core.contracts.throttle import Limit, Verdict, parse
from botctl.core.errors import UsageError
from botctl.core.services.registry import Registry, RunningServices
from botctl.sandbox.console.client import Identity, SandboxClient
from botctl.sandbox.console.command_parser import MenuCall, SlashCall
from botctl.sandbox.console.schemas import ReplySchema
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.process.serve import RunningSandbox
from botctl.sandbox.sandbox import Access, Sandbox
from tests.support.discord import PATIENT, served
from tests.support.waiting import LIMIT_S, until

shared_loop = pytest.mark.asyncio(loop_scope="module")
"""For tests that share one rig: the event loop of the module."""
TOKEN, SECRET = "sandbox-token", "sandbox-secret"
GUILD, BOT = "900000000000000001", "900000000000000010"
ROLES = {"admin": RoleSettings(roles=("900000000000000201",)), "moderator": RoleSettings(users=("900000000000000102",))}
"""ann is admin by her Discord role, bob is moderator by his id, cat has no role."""


@dataclass
class FakeLimiter:
    """Counts uses per user and name, up to ``count`` of the first limit; raises ``error`` if it is set."""

    error: Exception | None = None
    used: dict[tuple[str, str], int] = field(default_factory=dict)
    declared: dict[str, Mapping[str, Sequence[Limit]]] = field(default_factory=dict)

    def declare(self, owner: str, policies: Mapping[str, Sequence[Limit]]) -> None:
        self.declared[owner] = policies

    async def check(self, invocation: Invocation, limits: Sequence[Limit]) -> Verdict:
        if self.error:
            raise self.error
        key = (invocation.policy, invocation.actor.id)
        self.used[key] = self.used.get(key, 0) + 1
        for limit in limits:
            if self.used[key] > limit.count:
                return Verdict(False, limit.period_s, limit, "fake")
        return Verdict(True, source="fake")


@dataclass
class FakeAuditor:
    entries: list[AuditEntry] = field(default_factory=list)

    def record(self, entry: AuditEntry) -> None:
        self.entries.append(entry)


@dataclass
class FakeGuilds:
    """Guild settings in memory; raises ``error`` if it is set."""

    settings: dict[str, GuildSettings] = field(default_factory=dict)
    error: Exception | None = None

    async def get(self, guild: str) -> GuildSettings:
        if self.error:
            raise self.error
        return self.settings.get(guild, DEFAULTS)

    async def update(self, guild: str, changes: Mapping[str, Any], *, actor: str) -> GuildSettings:
        settings = await self.get(guild)
        for key, raw in changes.items():
            try:
                settings = with_change(settings, key, raw)
            except ValueError as error:
                raise UsageError(str(error)) from None
        self.settings[guild] = replace(settings, revision=settings.revision + 1)
        return self.settings[guild]


@dataclass
class CustomService:
    """A service that the tests add: events to wait for, and a list of calls."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    never: asyncio.Event = field(default_factory=asyncio.Event)
    fails: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[str] = field(default_factory=list)


@dataclass
class Rig:
    """A running bot, a client of its sandbox, and the events it published."""

    service: BotService
    client: SandboxClient
    sandbox: Sandbox
    running: RunningServices
    events: list[Event]
    auditor: FakeAuditor
    limiter: FakeLimiter
    guilds: FakeGuilds

    async def run_command(
        self, name: str, options: Mapping[str, str] | None = None, *, user: str = "ann", limit_s: float = LIMIT_S
    ) -> ReplySchema:
        """Use a slash command; wait for its answer and its outcome."""
        call = SlashCall(name, options or {})
        return await self.wait_until_idle(await self.client.send(call, Identity(user), timeout_s=limit_s))

    async def menu(self, name: str, target: str, *, user: str = "ann") -> ReplySchema:
        call = MenuCall(name, target, on_message=not target.startswith("@"))
        return await self.wait_until_idle(await self.client.send(call, Identity(user), timeout_s=LIMIT_S))

    async def click(self, label: str, *, user: str = "ann", limit_s: float = LIMIT_S) -> ReplySchema:
        return await self.wait_until_idle(await self.client.click(label, Identity(user), timeout_s=limit_s))

    async def submit(self, fields: Mapping[str, str], *, user: str = "ann") -> ReplySchema:
        return await self.wait_until_idle(await self.client.submit(fields, Identity(user), timeout_s=LIMIT_S))

    async def wait_until_idle(self, reply: ReplySchema) -> ReplySchema:
        await until(lambda: self.service.in_flight == 0, what="the outcome")
        return reply

    @property
    def finished(self) -> list[CommandFinished]:
        return [event for event in self.events if isinstance(event, CommandFinished)]

    @property
    def results(self) -> list[str]:
        return [event.result for event in self.finished]


def last_text(reply: ReplySchema) -> str:
    """Return the text of the last message that the user sees."""
    assert reply.messages, reply
    return reply.messages[-1].content


def write_commands(folder: Path, **files: str) -> Path:
    """Write a commands folder with these files, by name without ``.py``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in files.items():
        (folder / f"{name}.py").write_text(dedent(body))
    return folder


def validation_context(**options: Any) -> ValidationContext:
    return ValidationContext(roles=set(ROLES), limits=parse("100/1s per user"), **options)


def new_sandbox(url: str) -> Sandbox:
    return Sandbox(default_world(url=url), Access({TOKEN: BOT}, SECRET), limits=PATIENT)


@asynccontextmanager
async def rig(
    catalog: Catalog | Path,
    *,
    settings: Settings | None = None,
    clock: Clock | None = None,
    make: Callable[[str], Sandbox] = new_sandbox,
    port: int = 0,
    token: str = TOKEN,
    reread: Callable[[], TokenFound] | None = None,
    values: Mapping[type, Any] | None = None,
    start_s: float = 15.0,
    discord: RunningSandbox | None = None,
) -> AsyncIterator[Rig]:
    """Run a bot with the commands of ``catalog`` (or of a folder); ``values`` are more services.

    ``make`` gets the URL of ``port``, or of a free port. ``discord``: a sandbox that runs already, instead.
    """
    if isinstance(catalog, Path):
        catalog = load(catalog, validation_context())
    events: list[Event] = []
    bus, limiter, auditor, guilds = Bus(), FakeLimiter(), FakeAuditor(), FakeGuilds()
    serving = served(make, port=port) if discord is None else nullcontext(discord)
    async with serving as running_discord, SandboxClient(running_discord.url, SECRET) as client:
        with bus.listen(events.append, Event):
            registry = Registry(publish=bus.publish)
            payload: dict[Any, Any] = {
                Settings: settings or Settings(roles=ROLES),
                DiscordAccess: DiscordAccess(token, running_discord.url, reread=reread),
                Catalog: catalog,
                Bus: bus,
                Clock: clock or SystemClock(),
                Limiter: limiter,
                Auditor: auditor,
                GuildSettingsStore: guilds,
                LoginGate: OpenGate(spacing_s=0.0),  # the sandbox of the tests has no limit either
                AccessControl: CurrentAccess(
                    settings_grants((settings or Settings(roles=ROLES)).roles), clock or SystemClock()
                ),
            }
            for key, value in (payload | dict(values or {})).items():
                registry.value(key, value)
            registry.add(
                bot_service,
                name="bot",
                depends_on=catalog.dependencies,
                start_s=start_s,
                stop_s=15.0,
                ping=BotService.ping,
            )
            async with registry.open() as running:
                yield Rig(
                    running.get(BotService), client, running_discord.sandbox, running, events, auditor, limiter, guilds
                )

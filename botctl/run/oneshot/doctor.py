"""The checks of `botctl doctor`, put together from all features. Starts no store, no sandbox and no service."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from botctl.audit.writer import COLLECTION as AUDIT_COLLECTION
from botctl.audit.writer import INDEXES
from botctl.bot.catalog import named_commands
from botctl.core.clock import SystemClock
from botctl.core.config.loading import Loaded
from botctl.core.config.settings import uses_sandbox
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.discord_access import DiscordAccess
from botctl.core.contracts.health import Diagnosis, Health
from botctl.core.contracts.malformed import Malformed
from botctl.core.errors import BotctlError, ConfigError, Unreachable
from botctl.core.files.paths import STATE_FOLDER
from botctl.core.processes.runtime import Runtime
from botctl.doctor import machine, machine_probe, project, store_probe, stores, supervisor, supervisor_probe
from botctl.doctor.bot import assess_bot
from botctl.doctor.checks import Check, in_own_thread, run_checks
from botctl.doctor.discord import assess_discord_clock, assess_logins, assess_token
from botctl.doctor.discord_api import discord_reader
from botctl.doctor.finding import Finding, Mark, unknown
from botctl.migrate.ledger import COLLECTION, Ledger
from botctl.migrate.runner import read_rows_that_can_be
from botctl.monitor.health_answer import parse_answer
from botctl.monitor.health_client import Heard, hear_processes, unheard
from botctl.realtime.descriptors import needed_descriptors
from botctl.run.providers import discover_migrations
from botctl.run.roles import ProcessRole, add_custom_services, build_shared_registry, load_commands
from botctl.sandbox.model.tokens import bot_token
from botctl.sandbox.process.service import NAME as SANDBOX
from botctl.stores.mongo import running_mongo

LOAD_S: Final = 30.0
"""How long the command files may take to load: they are an author's code."""
STORE_S: Final = 10.0
"""How long the checks of a store may take, beside the limits of their calls."""
_NEED_SETTINGS: Final = (
    *("disk", "descriptors", "redis", "mongodb", "token", "logins", "supervisor", "port", "run", "bot"),
    *("commands", "migrations"),
)


@dataclass(frozen=True)
class Examination:
    """One call of `botctl doctor` for a project with valid settings."""

    loaded: Loaded
    env: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @property
    def root(self) -> Path:
        return self.loaded.root

    @property
    def runtime(self) -> Runtime:
        return Runtime(self.root, read_only=True)

    def checks(self) -> list[Check]:
        """From the outside in: the machine, the project, the stores, Discord."""
        settings = self.loaded.settings
        store_mend = "Something between here and that server swallows packets, or it hangs. Look at its log."
        return [
            _in_thread("python", lambda: machine.assess_versions(machine_probe.read_versions())),
            Check("settings", self._settings),
            _in_thread("files", self._modes),
            _in_thread("disk", self._disks, when_late="A disk hangs: see `mount`, and `dmesg`."),
            _in_thread("descriptors", self._descriptors),
            _in_thread("port", self._ports),
            _in_thread("supervisor", self._supervisors),
            _in_thread("run", self._runs),
            _in_thread("bot", self._bot),
            Check("commands", self._commands, LOAD_S, "A command file does not end its import: look for a loop there."),
            Check("redis", self._redis, STORE_S + 8 * settings.redis.timeout_s, store_mend),
            Check("mongodb", self._mongo, STORE_S + 8 * settings.mongo.timeout_s, store_mend),
            Check("migrations", self._migrations, STORE_S + 8 * settings.mongo.timeout_s, store_mend),
            Check("token", self._discord, 15.0, "Check the network; https://discordstatus.com."),
        ]

    async def _settings(self) -> list[Finding]:
        loaded = self.loaded
        return project.assess_settings(str(loaded.root), loaded.settings.profile, len(loaded.origins), loaded.notices)

    def _modes(self) -> list[Finding]:
        logs = Path(self.root, self.loaded.settings.logs.folder)
        paths = [self.root / ".env", self.root / STATE_FOLDER, *sorted(logs.glob("*.jsonl*"))]
        if key := self.loaded.settings.realtime.tls_key:
            paths.append(Path(self.root, key))
        return machine.assess_modes(machine_probe.read_modes(self.root, paths), uid=os.geteuid())

    def _disks(self) -> list[Finding]:
        logs = self.loaded.settings.logs
        folders = [Path(self.root, logs.folder), self.root / STATE_FOLDER]
        disks = machine_probe.read_disks(self.root, folders, log_bytes=logs.rotate_bytes * (logs.keep + 1))
        return [machine.assess_disk(disk) for disk in disks]

    def _descriptors(self) -> list[Finding]:
        connections = self.loaded.settings.realtime.connections
        pid = next(iter(self._pids(ProcessRole.REALTIME)), None)
        needed = needed_descriptors(connections)
        seen = machine_probe.read_descriptors(pid, needed=needed, connections=connections)
        return [machine.assess_descriptors(seen)]

    def _ports(self) -> list[Finding]:
        settings = self.loaded.settings
        addresses = {
            ProcessRole.REALTIME: (settings.realtime.host, settings.realtime.port),
            ProcessRole.WEB: (settings.web.host, settings.web.port),
        }
        return [
            machine.assess_port(machine_probe.read_port(host, port, self._pids(role)), setting=str(role))
            for role, (host, port) in addresses.items()
        ]

    def _pids(self, role: ProcessRole) -> list[int]:
        return [run.pid for run in self.runtime.runs() if run.pid is not None and str(role) in run.roles]

    def _supervisors(self) -> list[Finding]:
        return supervisor.assess_supervisors(
            supervisor_probe.read_supervisor_files(self.root, self.env),
            prefix=str(Path(sys.prefix).resolve()),
            drain_s=self.loaded.settings.shutdown.drain_s,
        )

    def _runs(self) -> list[Finding]:
        return machine.assess_runs([machine_probe.read_run(run.pid, run.roles) for run in self.runtime.runs()])

    def _bot(self) -> list[Finding]:
        return assess_bot(diagnoses_of(hear_processes(self.runtime)))

    async def _commands(self) -> list[Finding]:
        try:
            seen = await in_own_thread(partial(asyncio.run, load_for_doctor(self.loaded)))
        except ConfigError as error:
            return project.assess_refused("commands", error)
        return project.assess_commands(seen)

    async def _redis(self) -> list[Finding]:
        return stores.assess_redis(await store_probe.examine_redis(self.loaded.settings, self.runtime))

    async def _mongo(self) -> list[Finding]:
        needed = {AUDIT_COLLECTION: [[name for name, _ in keys] for keys in INDEXES]}
        return stores.assess_mongo(await store_probe.examine_mongo(self.loaded.settings, self.runtime, needed))

    async def _migrations(self) -> list[Finding]:
        try:
            migrations = await in_own_thread(lambda: discover_migrations(self.loaded))
        except ConfigError as error:
            return project.assess_refused("migrations", error)
        malformed = Malformed(COLLECTION)
        try:
            async with running_mongo(self.loaded.settings, self.runtime) as database:
                rows = await read_rows_that_can_be(migrations, Ledger(database), malformed)
        except Unreachable as error:
            return [unknown("migrations", f"{len(migrations.files)} files; the ledger cannot be read: {error}")]
        by_status: dict[str, list[str]] = {}
        for row in rows:
            by_status.setdefault(str(row.status), []).append(row.name)
        on_start = self.loaded.settings.migrate.on_start
        return project.assess_migrations(
            project.MigrationsEvidence(len(rows), by_status, tuple(malformed.faults), on_start)
        )

    async def _discord(self) -> list[Finding]:
        access = discord_access(self.loaded, self.runtime)
        if access is None:
            return [unknown("token", NO_SANDBOX)]
        is_sandbox = access.base_url is not None
        async with discord_reader(access) as discord:
            me = await discord.get("/users/@me")
            token = assess_token(me, sandbox=is_sandbox)
            found = [token, assess_discord_clock(me, sandbox=is_sandbox)]
            if token.mark is not Mark.OK:  # another request would only count towards a ban
                return [*found, unknown("logins", "not asked, because of the token")]
            gateway = await discord.get("/gateway/bot")
        now = SystemClock().now()
        shards = self.loaded.settings.discord.shard_count
        return found + assess_logins(gateway, shards=shards, now=now, sandbox=is_sandbox)


NO_SANDBOX: Final = "no token is set: the bot uses the sandbox, which does not run now"


def discord_access(loaded: Loaded, runtime: Runtime) -> DiscordAccess | None:
    """How to ask Discord, or the sandbox that runs. None: the bot uses the sandbox, and it does not run."""
    if loaded.settings.discord.token is not None:
        return DiscordAccess(loaded.settings.discord.token.get_secret_value())
    part = runtime.live().get(SANDBOX)
    if not uses_sandbox(loaded.settings) or part is None:
        return None
    return DiscordAccess(bot_token(part.secret or ""), part.address)


def diagnoses_of(heard: Heard) -> tuple[Diagnosis, ...] | None:
    """All that is not well, as the processes say it; empty if all is. None: no process tells.

    A process says first what it sees itself, then its verdict on the bot, which may be about any other one.
    """
    parsed = [answer for fields in heard.answers if (answer := parse_answer(fields)) is not None]
    if not parsed and not heard.silent:
        return None
    found = [finding for answer in parsed for finding in answer.diagnoses] + [unheard(run) for run in heard.silent]
    said = {(finding.verdict, finding.proc, finding.shard) for finding in found}
    for of_bot in (answer.bot for answer in parsed):
        if of_bot is None or (key := (of_bot.verdict, of_bot.proc, of_bot.shard)) in said:
            continue
        said.add(key)
        found.append(of_bot)
    return tuple(finding for finding in found if finding.verdict is not Health.HEALTHY)


async def load_for_doctor(loaded: Loaded) -> project.CommandsEvidence:
    """Load the command files as `botctl run` does; what they print is dropped. Raises ConfigError.

    A coroutine, because some authors' modules want a running event loop when they are imported.
    """
    with contextlib.redirect_stdout(io.StringIO()), _no_bytecode():
        registry = build_shared_registry(loaded, bus=Bus(), read_only=True)
        add_custom_services(registry, loaded)
        catalog = load_commands(registry, loaded, skip_broken=False)
    names = [named.name for file in catalog.files for named in named_commands(file, catalog.folder)]
    files = [file for file in catalog.files if not file.is_empty]
    return project.CommandsEvidence(
        loaded.settings.commands.folder, len(files), names, len(catalog.jobs), catalog.left_out
    )


@contextmanager
def _no_bytecode() -> Iterator[None]:
    """Leave no ``__pycache__`` behind: `botctl doctor` changes nothing."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _in_thread(name: str, examine: Callable[[], Sequence[Finding]], *, when_late: str = "") -> Check:
    async def call() -> Sequence[Finding]:
        return await in_own_thread(examine)

    return Check(name, call, when_late=when_late or "Try again; the machine may be busy.")


async def examine(loaded: Loaded) -> list[Finding]:
    """All findings about the project."""
    stdout = sys.stdout
    try:
        return await run_checks(Examination(loaded).checks())
    finally:
        sys.stdout = stdout  # a command file that hangs keeps it redirected


async def examine_without_settings(error: BotctlError) -> list[Finding]:
    """The findings if the settings cannot be loaded, because of ``error``."""
    versions = _in_thread("python", lambda: machine.assess_versions(machine_probe.read_versions()))
    found = await run_checks([versions])
    return [*found, *project.assess_refused("settings", error), *project.without_settings(_NEED_SETTINGS)]

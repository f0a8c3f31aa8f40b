"""`botctl doctor intents` and `botctl doctor permissions`: what the code needs, against what Discord grants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from botctl.bot.client import intents_of
from botctl.core.config.loading import Loaded
from botctl.core.errors import UsageError
from botctl.core.processes.runtime import Runtime
from botctl.core.telemetry.logs import FILE_NAME
from botctl.doctor.checks import Check, in_own_thread, run_checks
from botctl.doctor.code_reading import CodeRead, read_code
from botctl.doctor.discord import application_flags, application_id, assess_token
from botctl.doctor.discord_api import DiscordAnswer, DiscordReader, discord_reader
from botctl.doctor.discord_probe import listed_rights, reach_of, read_guilds, read_rights
from botctl.doctor.finding import Finding, Mark
from botctl.doctor.intents import PRIVILEGED, IntentsEvidence, assess_code, assess_intents, intent_needs
from botctl.doctor.permissions import (
    GuildRights,
    PermissionsEvidence,
    assess_permissions,
    permission_needs,
    refusals_in,
    refused_needs,
)
from botctl.run.oneshot.doctor import NO_SANDBOX, discord_access

LIMIT_S: Final = 60.0
"""A bot in thousands of guilds needs many pages."""
_LOG_BYTES: Final = 4_000_000  # from its end
_LATE: Final = "Check the network; https://discordstatus.com."


@dataclass(frozen=True, slots=True)
class _Asked:
    """A reader of Discord, if the token is good. ``findings``: why there is none, or what it is."""

    discord: DiscordReader | None
    me: DiscordAnswer
    findings: tuple[Finding, ...] = ()
    why_not: str = ""


@asynccontextmanager
async def _asked(loaded: Loaded) -> AsyncIterator[_Asked]:
    access = discord_access(loaded, Runtime(loaded.root, read_only=True))
    if access is None:
        yield _Asked(None, DiscordAnswer(None), why_not=NO_SANDBOX)
        return
    async with discord_reader(access) as discord:
        me = await discord.get("/users/@me")
        token = assess_token(me, sandbox=access.base_url is not None)
        is_well = token.mark is Mark.OK
        yield _Asked(discord if is_well else None, me, (token,), "" if is_well else "Discord was not asked: see token")


def code_of(loaded: Loaded) -> CodeRead:
    """The command files, and the modules of the project that the setting ``[services]`` names."""
    root = loaded.root
    modules = [path.partition(":")[0].replace(".", "/") for path in loaded.settings.services.values()]
    files = [root / f"{module}.py" for module in modules] + [root / module for module in modules]
    return read_code(root, [Path(root, loaded.settings.commands.folder), *files])


def requested_intents(loaded: Loaded) -> Collection[str]:
    """The privileged intents in discord.intents."""
    intents = intents_of(loaded.settings.discord.intents)
    return [name for name in PRIVILEGED if getattr(intents, name)]


async def examine_intents(loaded: Loaded) -> list[Finding]:
    async def look() -> list[Finding]:
        code = await in_own_thread(lambda: code_of(loaded))
        async with _asked(loaded) as asked:
            flags, reach = None, None
            if asked.discord is not None:
                application = await asked.discord.get("/applications/@me")
                flags = application_flags(application)
                reach = reach_of(application, await read_guilds(asked.discord))
        seen = IntentsEvidence(requested_intents(loaded), flags, intent_needs(code.facts), reach)
        return [*asked.findings, *assess_code(code), *assess_intents(seen)]

    return await run_checks([Check("intents", look, LIMIT_S, _LATE)])


async def examine_permissions(loaded: Loaded, guild: str | None) -> list[Finding]:
    """``guild``: the name or id of the only one to look at. Raises UsageError if the bot is in no such guild."""
    code = await in_own_thread(lambda: code_of(loaded))
    log = await in_own_thread(lambda: _tail(Path(loaded.root, loaded.settings.logs.folder, FILE_NAME)))
    refused = refused_needs(refusals_in(log, str(loaded.root)), code.facts)
    needs = [*permission_needs(code.facts), *refused]
    unknown_guild: list[UsageError] = []

    async def look() -> list[Finding]:
        rights: list[GuildRights] | None = None
        application: str | None = None
        complete = True
        async with _asked(loaded) as asked:
            if asked.discord is not None:
                application = application_id(await asked.discord.get("/applications/@me"))
                listed = await read_guilds(asked.discord)
                rights, complete = listed_rights(listed), listed.complete
                if guild is not None:
                    own = await _rights_in(asked.discord, guild, rights, str(asked.me.body["id"]))
                    if own is None:
                        unknown_guild.append(_no_such_guild(guild, rights))
                    rights, complete = [own] if own else [], True
        seen = PermissionsEvidence(needs, rights, application, asked.why_not, complete)
        return [*asked.findings, *assess_code(code), *assess_permissions(seen)]

    found = await run_checks([Check("permissions", look, LIMIT_S, _LATE)])
    if unknown_guild:
        raise unknown_guild[0]
    return found


async def _rights_in(discord: DiscordReader, guild: str, listed: list[GuildRights], user_id: str) -> GuildRights | None:
    """By the roles of the bot in the guild with this name or id."""
    ids = [each.id for each in listed if guild in (each.id, each.name)]
    if not ids and not guild.isdecimal():
        return None
    return await read_rights(discord, ids[0] if ids else guild, user_id)


def _no_such_guild(guild: str, listed: list[GuildRights]) -> UsageError:
    some = ", ".join(f"{each.name} ({each.id})" for each in listed[:10])
    return UsageError(f"the bot is in no guild {guild!r}.", hint=f"It is in {some or 'none'}.")


def _tail(log: Path) -> list[str]:
    """The last lines of ``log``; none if it cannot be read."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _LOG_BYTES))
            return file.read(_LOG_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return []

"""Permissions in each guild: what the bot needs and how that is known, what it has, what it lacks. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from botctl.core.escape import safe
from botctl.core.plural import counted
from botctl.doctor.code_reading import CodeFact, FactKind
from botctl.doctor.finding import Finding, Mark, fault, ok, unknown
from botctl.doctor.needs import Basis, Need, of, shortened
from botctl.doctor.permission_names import (
    ADMINISTRATOR,
    CALLS,
    EDITS,
    NOT_DISCORD,
    PERMISSION_BITS,
    SENDS,
    SPLIT,
    bits_of,
    names_in,
    permission_named,
)

SCOPES: Final = ("bot", "applications.commands")
_MAX_WELL: Final = 10  # guilds that are well and have a line of their own
_CHANNEL: Final = re.compile(r"(channel|thread|messageable)\w*$")
_FRAME: Final = re.compile(r'File "([^"]+)", line (\d+)')
_MISSING_PERMISSIONS: Final = "50013"
"""Discord: JSON Error Codes."""


def permission_needs(facts: Iterable[CodeFact]) -> list[Need]:
    """The permissions that the code declares, and those that its calls need by their names."""
    return [need for fact in facts for need in _needs_of(fact)]


def _needs_of(fact: CodeFact) -> list[Need]:
    basis = {FactKind.REQUIRES: Basis.DECLARED, FactKind.ASKS_PEOPLE: Basis.PEOPLE}.get(fact.kind)
    if basis is not None:
        name = permission_named(fact.name)
        reason = "needs it" if basis is Basis.DECLARED else "asks people for it"
        return [Need(name, basis, f"{fact.owner} {reason}", fact.where)] if name else []
    call = f"{fact.receiver}.{fact.name}()".lstrip(".")
    return [Need(name, Basis.GUESSED, f"{fact.owner} calls {call}", fact.where) for name in called_permissions(fact)]


def called_permissions(fact: CodeFact) -> list[str]:
    """What a call needs, as far as its name tells."""
    if fact.kind is not FactKind.CALL or fact.receiver.split(".", 1)[0] in NOT_DISCORD:
        return []
    if fact.name == "edit":
        return [EDITS[keyword] for keyword in fact.keywords if keyword in EDITS]
    if fact.name == "send" and _CHANNEL.search(fact.receiver):
        sent = [SENDS[keyword] for keyword in fact.keywords if keyword in SENDS]
        return ["VIEW_CHANNEL", "SEND_MESSAGES", *dict.fromkeys(sent)]
    return list(CALLS.get(fact.name, ()))


@dataclass(frozen=True, slots=True)
class LoggedRefusal:
    """A 403 in the log. ``places``: files and lines of the project in its traceback, the innermost last."""

    at: str
    guild: str
    places: tuple[tuple[str, int], ...]


def refusals_in(lines: Iterable[str], root: str) -> list[LoggedRefusal]:
    """The 403s for a missing permission in ``lines`` of ``logs/botctl.jsonl``. Places are relative to ``root``."""
    found = []
    for line in lines:
        if _MISSING_PERMISSIONS not in line:
            continue
        try:
            entry: Any = json.loads(line)
            error = entry["error"]
            is_one = error["type"] == "Forbidden" or "Forbidden: 403" in error["trace"]
            frames = _FRAME.findall(error["trace"])
        except (ValueError, KeyError, TypeError):
            continue
        if is_one:
            prefix = f"{root.rstrip('/')}/"
            places = [(path.removeprefix(prefix), int(number)) for path, number in frames if path.startswith(prefix)]
            places = [place for place in places if not place[0].startswith((".venv/", "botctl/"))]
            found.append(LoggedRefusal(str(entry.get("at", "")), str(entry.get("guild", "")), tuple(places)))
    return found


def refused_needs(refusals: Iterable[LoggedRefusal], facts: Sequence[CodeFact]) -> list[Need]:
    """What was refused: the permissions of the call in that line. It may have been granted since."""
    needs = []
    for refusal in refusals:
        for file, line in reversed(refusal.places):
            calls = [fact for fact in facts if (fact.file, fact.line) == (file, line)]
            if names := [name for fact in calls for name in called_permissions(fact)]:
                why = f"Discord refused {calls[0].owner} (403) at {refusal.at}"
                needs += [Need(name, Basis.SEEN, why, f"{file}:{line}") for name in dict.fromkeys(names)]
                break
    return needs


@dataclass(frozen=True, slots=True)
class GuildRights:
    """``bits``: the permissions of all roles of the bot in the guild together.

    ``channels``: those with overwrites, by name, and the bits there; only of a guild that was named. Discord lists no
    channels that the bot cannot see.
    """

    id: str
    name: str
    bits: int
    channels: tuple[tuple[str, int], ...] = ()


def rights_of_member(guild: Mapping[str, Any], roles: Sequence[Mapping[str, Any]], member: Mapping[str, Any]) -> int:
    """The bits of a member: those of @everyone, whose id is that of the guild, and of the member's roles."""
    own = {str(guild["id"]), *map(str, member.get("roles") or ())}
    bits = 0
    for role in roles:
        if str(role.get("id")) in own:
            bits |= int(role.get("permissions") or 0)
    return bits


@dataclass(frozen=True, slots=True)
class PermissionsEvidence:
    """``guilds`` None: why is in ``unasked``. ``application``: its id, for the invite link; None: not known."""

    needs: Sequence[Need]
    guilds: Sequence[GuildRights] | None
    application: str | None = None
    unasked: str = ""
    complete: bool = True


def assess_permissions(seen: PermissionsEvidence) -> list[Finding]:
    needed = [name for name in PERMISSION_BITS if of(seen.needs, name)]
    found = [ok("needs", f"{name}: {shortened(of(seen.needs, name))}") for name in needed]
    if not needed:
        found = [ok("needs", "nothing was found in the code that needs a permission")]
    if seen.guilds is None:
        found.append(unknown("guilds", seen.unasked))
    else:
        found += _assess_guilds(seen, seen.guilds, needed)
        if not seen.complete:
            found.append(unknown("guilds", "Discord did not name all guilds", "Name one: botctl doctor permissions ID"))
    if seen.application is not None:
        found.append(ok("invite", invite_url(seen.application, needed)))
    return found


def _assess_guilds(seen: PermissionsEvidence, guilds: Sequence[GuildRights], needed: Sequence[str]) -> list[Finding]:
    link = invite_url(seen.application, needed) if seen.application else "the invite link"
    lines = [_assess_guild(guild, seen.needs, needed, link) for guild in guilds]
    lines += [finding for guild in guilds for finding in _assess_channels(guild, needed)]
    well = [line for line in lines if line.mark is Mark.OK]
    if len(well) <= _MAX_WELL:
        return lines
    summary = ok("guilds", f"{counted(len(well), 'guild')} give the bot all that it needs")
    return [*(line for line in lines if line.mark is not Mark.OK), summary]


def _assess_guild(guild: GuildRights, needs: Sequence[Need], needed: Sequence[str], link: str) -> Finding:
    name = f"{safe(guild.name)} ({safe(guild.id)})"
    has = names_in(guild.bits)
    lacks = [permission for permission in needed if permission not in has]
    if not lacks:
        return ok("guilds", f"{name} gives the bot all that it needs")
    told = "; ".join(f"{permission}{_split_note(permission, has)}" for permission in lacks)
    mend = f"Give the bot's role these permissions there, or invite it again, which adds them: {link}"
    if all(of(needs, permission)[0].basis is Basis.PEOPLE for permission in lacks):
        return unknown("guilds", f"{name} lacks what people need for commands: {told}", mend)
    return fault("guilds", f"{name} lacks {told}", mend)


def _assess_channels(guild: GuildRights, needed: Sequence[str]) -> list[Finding]:
    """What single channels deny although the guild gives it. That may be meant."""
    has = names_in(guild.bits)
    found = []
    for permission in [name for name in needed if name in has]:
        denying = [f"#{safe(name)}" for name, bits in guild.channels if permission not in names_in(bits)]
        if denying:
            more = f" and {len(denying) - _MAX_WELL} more" if len(denying) > _MAX_WELL else ""
            sentence = f"{permission} is denied in {', '.join(denying[:_MAX_WELL])}{more}"
            found.append(unknown("channels", sentence, "If the bot works there, allow it in that channel."))
    return found


def bits_in_channel(bits: int, overwrites: Sequence[Mapping[str, Any]], *, guild: str, own: Collection[str]) -> int:
    """``bits`` of a member in a channel. ``own``: the ids of the member and of its roles.

    Discord: Permissions > Permission Overwrites. First that of @everyone, then those of all roles together, then that
    of the member.
    """
    if bits & ADMINISTRATOR:
        return bits
    steps: list[list[Mapping[str, Any]]] = [[], [], []]
    for each in overwrites:
        if each.get("id") == guild:
            steps[0].append(each)
        elif each.get("id") in own:
            steps[1 if int(each.get("type") or 0) == 0 else 2].append(each)
    for step in steps:
        for each in step:
            bits &= ~int(each.get("deny") or 0)
        for each in step:
            bits |= int(each.get("allow") or 0)
    return bits


def _split_note(permission: str, has: Sequence[str]) -> str:
    """If the bot has what was enough until February 2026."""
    before = [name for name in SPLIT.get(permission, ()) if name in has]
    return f" (until February 2026, {before[0]} was enough)" if before else ""


def invite_url(application: str, needed: Iterable[str]) -> str:
    """The address at which a person adds the bot to a guild with exactly the permissions ``needed``."""
    query = {"client_id": application, "scope": " ".join(SCOPES), "permissions": str(bits_of(needed))}
    return f"https://discord.com/oauth2/authorize?{urlencode(query)}"

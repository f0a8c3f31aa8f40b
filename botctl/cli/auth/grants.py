"""``botctl auth grant``, ``revoke``, ``who`` and ``explain``: who has which role, and what that allows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from botctl.cli.auth.lifetime import parse_lifetime
from botctl.cli.json_output import print_json
from botctl.cli.options import AsJson, Profile, Project
from botctl.cli.output import show
from botctl.cli.settings import load_settings
from botctl.core.config.value_types import DISCORD_ID
from botctl.core.contracts.access import (
    AccessRules,
    AnyRole,
    GrantSource,
    Holder,
    HolderType,
    Need,
    Requester,
    RoleGrant,
    decide,
    discord_roles_that_allow,
)
from botctl.core.contracts.access_text import Explanation, describe_grant, explain_unknown
from botctl.core.contracts.access_text import explain as explain_decision
from botctl.core.contracts.api_keys import ApiKey
from botctl.core.contracts.malformed import Malformed
from botctl.core.contracts.permissions import PERMISSIONS, is_permission
from botctl.core.errors import NotFound, UsageError
from botctl.core.escape import safe
from botctl.core.suggest import suggest
from botctl.run.oneshot.grants import AccessAdmin, command_roles, open_access_admin

T = TypeVar("T")
_FORMS = "user:ID, role:ID (with --guild), key:ID or job:NAME"
_WHOLE_BOT = "This is for the whole bot. More grants count in a guild, as those of Discord roles: ask with --guild ID."

RoleArgument = Annotated[
    str,
    typer.Argument(
        metavar="ROLE", help="viewer, operator, admin, owner, or a role of the settings.", show_default=False
    ),
]
HolderArgument = Annotated[str, typer.Argument(metavar="HOLDER", help=f"{_FORMS}.", show_default=False)]
Guild = Annotated[
    str | None, typer.Option("--guild", metavar="ID", help="Only in this guild; without it, for the whole bot.")
]
Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why, for the audit log and for those who ask later.")
]


def grant(
    role: RoleArgument,
    holder: HolderArgument,
    reason: Reason,
    guild: Guild = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="How long it counts: 12h, 30d, 8w.")
    ] = None,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Grant a role. Running processes use it at once."""
    whom, lifetime = _parse_grantee(holder), parse_lifetime(expires)
    granted, is_new = _with_admin(
        project,
        profile,
        lambda admin: admin.grants.grant(role, whom, guild=guild, expires_in=lifetime, reason=reason),
    )
    if as_json:
        print_json(granted.as_json())
    else:
        print(f"{'Granted' if is_new else 'Changed'}: {describe_grant(granted)}{_until(granted)}.")


def revoke(
    role: RoleArgument,
    holder: HolderArgument,
    reason: Reason,
    guild: Guild = None,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Take a granted role back. What it opened closes at once."""
    whom = _parse_grantee(holder)

    async def take_back(admin: AccessAdmin) -> bool:
        if await admin.grants.revoke(role, whom, guild=guild, reason=reason):
            return True
        held = [each for each in (await admin.rules()).grants if (each.role, each.holder) == (role, whom)]
        if others := [each for each in held if not each.has_expired(datetime.now(UTC))]:
            raise NotFound(_elsewhere(others[0]), hint=f"`botctl auth who {whom}` shows all grants.")
        return False

    removed = _with_admin(project, profile, take_back)
    place = f" in guild {safe(guild, 20)}" if guild else ""
    if as_json:
        print_json({"revoked": removed})
    elif removed:
        print(f"Revoked: {safe(role, 40)} from {whom}{place}.")
    else:
        hint = f"`botctl auth who {whom}` shows all grants"
        print(f"There was nothing to revoke: {whom} has no grant of {safe(role, 40)}{place} in the store; {hint}.")


def _elsewhere(held: RoleGrant) -> str:
    """That nothing was revoked, though the role is ``held`` by another grant."""
    place = "for the whole bot" if held.guild is None else f"in guild {held.guild}"
    by = "the store" if held.source is GrantSource.STORE else "the settings"
    return f"nothing was revoked: {held.holder} has {safe(held.role, 40)} {place}, by {by}"


def who(
    holder: Annotated[
        str | None, typer.Argument(metavar="[HOLDER]", help=f"Only theirs: {_FORMS}.", show_default=False)
    ] = None,
    role: Annotated[str | None, typer.Option("--role", metavar="ROLE", help="Only grants of this role.")] = None,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Show who has which role: by the settings, and by `botctl auth grant`."""
    whom = parse_holder(holder) if holder else None

    async def read(admin: AccessAdmin) -> tuple[list[RoleGrant], Malformed]:
        return list((await admin.rules()).grants), admin.grants.malformed

    grants, malformed = _with_admin(project, profile, read)
    shown = [each for each in grants if whom in (None, each.holder) and role in (None, each.role)]
    if as_json:
        print_json([each.as_json() for each in shown])
    elif shown:
        _show_grants(shown)
    elif not malformed.faults:
        typer.echo("There is no such grant. `botctl auth grant ROLE HOLDER --reason TEXT` makes one.", err=True)
    malformed.require_none()


def explain(
    holder: Annotated[str, typer.Argument(metavar="WHO", help=f"{_FORMS}, or cli.", show_default=False)],
    what: Annotated[
        str,
        typer.Argument(metavar="WHAT", help="A permission (jobs:run), or a command (/ops status).", show_default=False),
    ],
    guild: Guild = None,
    discord_roles: Annotated[
        str | None, typer.Option("--has-role", metavar="ID,ID", help="Discord roles that the user has in the guild.")
    ] = None,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Say why someone may do something or why not, and what would change it. Exit code 1: they may not.

    Which Discord roles a user has is not known here: --has-role names them.
    """
    whom = parse_holder(holder)
    loaded = load_settings(project, profile)
    need = _parse_need(what, lambda: command_roles(loaded))
    roles = None if discord_roles is None else _parse_ids(discord_roles, "Discord role")
    if guild is not None and not DISCORD_ID.matches(guild):
        raise UsageError(f"{safe(guild, 40)!r} is not a guild; its id is {DISCORD_ID.description}.")

    async def ask(admin: AccessAdmin) -> _Answer:
        key = await _find_key(admin, whom)
        requester = _requester(whom, key, roles)
        if need is None:
            return _Answer(Explanation(f"{whom} may use {what}.", ("yes: it asks for no role",)), allowed=True)
        if key is not None and (ended := key.invalid_reason(datetime.now(UTC))):
            change = "To allow it, create another key: `botctl auth key create NAME`."
            return _Answer(Explanation(f"{whom} may do nothing.", (f"no: {ended}",), change), allowed=False)
        return _explain(await admin.rules(), requester, need, guild)

    answer = _with_admin(project, profile, ask)
    told = answer.told
    if as_json:
        fields = {"answer": told.answer, "steps": told.steps, "change": told.change, "note": answer.note}
        print_json({"allowed": answer.allowed, "known": answer.known} | fields)
    else:
        ends = [text for text in (told.change, answer.note) if text]
        print("\n".join([told.answer, *(f"  {step}" for step in told.steps), *ends]))
    if not answer.allowed:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Answer:
    """``known``: False if Discord roles that were not named could allow it. ``note``: what was not asked about."""

    told: Explanation
    allowed: bool
    known: bool = True
    note: str = ""


def _explain(rules: AccessRules, requester: Requester, need: Need, guild: str | None) -> _Answer:
    now = datetime.now(UTC)
    decision = decide(rules, requester, need, guild, now)
    if decision.allowed:
        return _Answer(explain_decision(decision), allowed=True)
    is_unknown = requester.holder.type is HolderType.USER and requester.has_role is None
    if is_unknown and (perhaps := discord_roles_that_allow(rules, need, guild, now)):
        return _Answer(explain_unknown(decision, perhaps), allowed=False, known=False)
    return _Answer(explain_decision(decision), allowed=False, note=_WHOLE_BOT if guild is None else "")


def parse_holder(text: str) -> Holder:
    """The holder that ``text`` names. A Discord id alone is a user. Raises UsageError."""
    kind, separator, number = text.partition(":")
    if not separator and DISCORD_ID.matches(text):
        return Holder(HolderType.USER, text)
    if text == HolderType.CLI:
        return Holder(HolderType.CLI, "")
    if kind not in set(HolderType) - {HolderType.CLI, HolderType.SESSION} or not number or not number.isprintable():
        raise UsageError(f"{safe(text, 60)!r} names no one who can have a role.", hint=f"Write {_FORMS}.")
    if kind in (HolderType.USER, HolderType.ROLE) and not DISCORD_ID.matches(number):
        raise UsageError(f"{safe(number, 40)!r} is not {DISCORD_ID.description}.", hint="Copy it in Discord.")
    return Holder(HolderType(kind), number)


def _parse_grantee(text: str) -> Holder:
    """As `parse_holder`, but not the terminal: who uses it needs no grant."""
    holder = parse_holder(text)
    if holder.type is HolderType.CLI:
        raise UsageError("the operator at the terminal may do everything, without a grant.", hint=f"Write {_FORMS}.")
    return holder


def _parse_ids(text: str | None, what: str) -> frozenset[str]:
    """The Discord ids in ``text``, which are of ``what``. Raises UsageError."""
    ids = frozenset(part.strip() for part in (text or "").split(",") if part.strip())
    for number in sorted(ids):
        if not DISCORD_ID.matches(number):
            raise UsageError(f"{safe(number, 40)!r} is not a {what}; its id is {DISCORD_ID.description}.")
    return ids


def _parse_need(what: str, read_commands: Callable[[], Mapping[str, tuple[str, ...]]]) -> Need | None:
    """The permission or the roles that ``what`` needs; None for a command that asks for no role. Raises UsageError."""
    if not what.startswith("/") and ":" in what:
        if not is_permission(what):
            sentence = f"there is no permission {safe(what, 60)!r}{suggest(what, list(PERMISSIONS))}"
            raise UsageError(sentence, hint=f"Choose from: {', '.join(PERMISSIONS)}.")
        return what
    commands, name = read_commands(), " ".join(what.split()).removeprefix("/")
    if name not in commands:
        raise UsageError(
            f"there is no command {safe(name, 60)!r}{suggest(name, list(commands))}",
            hint="A permission has a colon, as jobs:run.",
        )
    return AnyRole(commands[name]) if commands[name] else None


async def _find_key(admin: AccessAdmin, holder: Holder) -> ApiKey | None:
    """The key that ``holder`` is; None if it is something else. Raises UsageError if there is no such key."""
    if holder.type is not HolderType.KEY:
        return None
    keys = {key.id: key for key in await admin.keys.list()}
    if holder.id not in keys:
        raise UsageError(f"there is no key {safe(holder.id, 40)!r}.", hint="`botctl auth key list` shows their ids.")
    return keys[holder.id]


def _requester(holder: Holder, key: ApiKey | None, discord_roles: frozenset[str] | None) -> Requester:
    """``holder`` as who asks; a ``key`` with its own permissions. ``discord_roles``: None if they are not known."""
    if key is not None:
        return key.requester()
    if holder.type is HolderType.USER and discord_roles is not None:
        return Requester(holder, discord_roles.__contains__)
    return Requester(holder)


def _with_admin(project: Path | None, profile: str | None, operation: Callable[[AccessAdmin], Awaitable[T]]) -> T:
    loaded = load_settings(project, profile)

    async def call() -> T:
        async with open_access_admin(loaded) as admin:
            return await operation(admin)

    return asyncio.run(call())


def _show_grants(grants: Sequence[RoleGrant]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("role", "holder", "guild", "by", "until", "reason"):
        table.add_column(column, overflow="fold", no_wrap=column in ("role", "holder"))
    now = datetime.now(UTC)
    for each in grants:
        until = f"{each.expires_at:%Y-%m-%d %H:%M}" if each.expires_at else "-"
        until += " (expired)" if each.has_expired(now) else ""
        cells = (each.role, str(each.holder), each.guild or "-", each.granted_by or each.source, until, each.reason)
        table.add_row(*(Text(safe(cell, 200), "dim" if each.has_expired(now) else "") for cell in cells))
    show(table)


def _until(granted: RoleGrant) -> str:
    return f", until {granted.expires_at:%Y-%m-%d %H:%M} UTC" if granted.expires_at else ""

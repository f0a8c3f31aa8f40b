"""``botctl auth key``: API keys of the realtime server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from botctl.cli.auth.lifetime import parse_lifetime
from botctl.cli.json_output import print_json
from botctl.cli.options import AsJson, Profile, Project, Reason
from botctl.cli.output import show
from botctl.cli.settings import load_settings
from botctl.core.contracts.api_keys import ApiKey, ApiKeys
from botctl.core.contracts.malformed import Malformed
from botctl.core.contracts.permissions import EVENTS, EVERY_EVENT
from botctl.core.errors import BotctlError, UsageError
from botctl.core.escape import safe
from botctl.core.safe_streams import output_required
from botctl.run.oneshot.api_keys import open_api_keys

T = TypeVar("T")
DEFAULT_OVERLAP: Final = "24h"
KeyId = Annotated[
    str, typer.Argument(metavar="ID", help="The key's id, as `botctl auth key list` shows it.", show_default=False)
]

app = typer.Typer(
    add_completion=False, no_args_is_help=True, rich_markup_mode=None, help="API keys of the realtime server."
)


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that you choose.", show_default=False)],
    topics: Annotated[
        str | None, typer.Option("--topics", metavar="A,B", help="The topics that the key may read; * means all.")
    ] = None,
    permissions: Annotated[
        str | None, typer.Option("--permissions", metavar="A,B", help="What else it may do: status:read, jobs:run.")
    ] = None,
    guild: Annotated[
        str | None, typer.Option("--guild", metavar="ID", help="Only events and actions of this guild.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="How long the key is valid: 12h, 30d, 8w.")
    ] = None,
    reason: Reason = "",
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it. It cannot be shown again."""
    lifetime, names = parse_lifetime(expires), _permissions(topics, permissions)
    api_key, text = _with_keys(
        project,
        profile,
        lambda keys: keys.create(name, permissions=names, guild=guild, expires_in=lifetime, reason=reason),
    )
    _print_key(api_key, text, as_json=as_json)
    if not as_json:
        end = f"until {_format_time(api_key.expires_at)}" if api_key.expires_at else "until it is revoked"
        allowed = f"{', '.join(api_key.permissions)}{f' in guild {api_key.guild}' if api_key.guild else ''}"
        typer.echo(f"Key {api_key.id} has {allowed} {end}. Copy it now: it is not shown again.", err=True)


@app.command()
def rotate(
    key_id: KeyId,
    overlap: Annotated[
        str | None, typer.Option("--overlap", metavar="TIME", help="How long the old key stays valid; else 24h.")
    ] = None,
    now: Annotated[bool, typer.Option("--now", help="Revoke the old key at once.")] = False,
    reason: Reason = "",
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Replace a key by a new one with the same rights, and print that. The old one ends after an overlap."""
    if now and overlap is not None:
        raise UsageError("--now and --overlap exclude each other.", hint="--now ends the old key at once.")
    lifetime = timedelta(0) if now else parse_lifetime(overlap or DEFAULT_OVERLAP) or timedelta(0)
    rotation = _with_keys(project, profile, lambda keys: keys.rotate(key_id, overlap=lifetime, reason=reason))
    _print_key(rotation.new, rotation.text, as_json=as_json)
    if not as_json:
        old = rotation.old
        end = "is revoked" if old.revoked_at else f"ends at {_format_time(old.expires_at)}"
        used = f"was last used at {_format_time(old.used_at)}{_from(old)}" if old.used_at else "was never used"
        typer.echo(f"Key {rotation.new.id} replaces {old.id}. Copy it now: it is not shown again.", err=True)
        typer.echo(f"Key {old.id} {end}; it {used}.", err=True)


def _permissions(topics: str | None, permissions: str | None) -> list[str]:
    """The permissions of a new key; all topics if neither option is there."""
    if topics is None and permissions is None:
        return [EVERY_EVENT]
    names = [f"{EVENTS}{name.strip()}" for name in (topics or "").split(",") if name.strip()]
    return names + [name.strip() for name in (permissions or "").split(",") if name.strip()]


def _print_key(api_key: ApiKey, text: str, *, as_json: bool) -> None:
    """Print the text of a new key. Raises BotctlError if that fails, since it cannot be shown again."""
    try:
        with output_required():
            if as_json:
                print_json(api_key.as_json() | {"key": text})
            else:
                print(text)
            sys.stdout.flush()
    except OSError as error:
        raise BotctlError(
            f"The key {api_key.id} was created, but cannot be printed: {error.strerror or error}.",
            hint=f"It cannot be shown again: `botctl auth key revoke {api_key.id}`, then create another one.",
        ) from error


@app.command("list")
def list_(project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """List all keys. The secret part of a key is never shown."""

    async def read(api_keys: ApiKeys) -> tuple[list[ApiKey], Malformed]:
        return await api_keys.list(), api_keys.malformed

    keys, malformed = _with_keys(project, profile, read)
    if as_json:
        print_json([api_key.as_json() for api_key in keys])
    elif keys or not malformed.faults:
        _show_keys(keys)
    malformed.require_none()


def _show_keys(keys: Sequence[ApiKey]) -> None:
    if not keys:
        typer.echo("There are no keys. Create one with `botctl auth key create NAME`.", err=True)
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("id", "name", "permissions", "guild", "ends", "last used", "from", "uses", "state"):
        table.add_column(column, overflow="fold", no_wrap=column in ("id", "ends", "last used", "uses"))
    now = datetime.now(UTC)
    for api_key in keys:
        row = [
            api_key.id,
            api_key.name,
            ", ".join(api_key.permissions),
            api_key.guild or "-",
            *(_format_day(at) for at in (api_key.expires_at, api_key.used_at)),
            ", ".join(api_key.used_from) or "-",
            str(api_key.uses),
            _state(api_key, now),
        ]
        style = "dim" if api_key.invalid_reason(now) else ""
        table.add_row(*(Text(safe(cell, 200), style) for cell in row))
    show(table)


def _state(api_key: ApiKey, now: datetime) -> str:
    """``valid``, ``revoked`` or ``expired``, and which key replaces it."""
    ended = "revoked" if api_key.revoked_at else "expired" if api_key.invalid_reason(now) else "valid"
    return f"{ended}, replaced by {api_key.replaced_by}" if api_key.replaced_by else ended


def _from(api_key: ApiKey) -> str:
    return f" from {', '.join(api_key.used_from)}" if api_key.used_from else ""


@app.command()
def revoke(
    key_id: KeyId,
    reason: Reason = "",
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key, and close the connections that use it."""
    api_key, is_newly_revoked = _with_keys(project, profile, lambda keys: keys.revoke(key_id, reason=reason))
    if as_json:
        print_json(api_key.as_json())
    elif is_newly_revoked:
        print(f"Key {api_key.id} is revoked.")
    else:
        print(f"Key {api_key.id} was already revoked, at {_format_time(api_key.revoked_at)}; nothing has changed.")


def _with_keys(project: Path | None, profile: str | None, operation: Callable[[ApiKeys], Awaitable[T]]) -> T:
    loaded = load_settings(project, profile)

    async def call() -> T:
        async with open_api_keys(loaded) as keys:
            return await operation(keys)

    return asyncio.run(call())


def _format_time(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%M UTC") if at else "-"


def _format_day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d}" if at else "-"

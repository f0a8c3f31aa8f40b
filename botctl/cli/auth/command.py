"""``botctl auth``: API keys of the realtime server."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from botctl.cli.json_output import print_json
from botctl.cli.options import AsJson, Profile, Project
from botctl.cli.output import show
from botctl.cli.settings import load_settings
from botctl.core.clock import iso_ms
from botctl.core.contracts.api_keys import EVERY_TOPIC, ApiKey, ApiKeys
from botctl.core.contracts.malformed import Malformed
from botctl.core.errors import BotctlError, UsageError
from botctl.core.safe_streams import output_required
from botctl.core.timeparse import parse_duration
from botctl.run.oneshot.api_keys import open_api_keys

T = TypeVar("T")

app = typer.Typer(
    add_completion=False, no_args_is_help=True, rich_markup_mode=None, help="Create, list and revoke API keys."
)
key = typer.Typer(
    add_completion=False, no_args_is_help=True, rich_markup_mode=None, help="API keys of the realtime server."
)
app.add_typer(key, name="key")


@key.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that you choose.", show_default=False)],
    topics: Annotated[
        str, typer.Option("--topics", metavar="A,B", help="The topics that the key may read; * means all.")
    ] = "*",
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="How long the key is valid: 12h, 30d, 8w.")
    ] = None,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it. It cannot be shown again."""
    lifetime = _parse_duration(expires)
    topic_names = [topic.strip() for topic in topics.split(",") if topic.strip()]
    api_key, text = _with_keys(
        project, profile, lambda keys: keys.create(name, topics=topic_names, expires_in=lifetime)
    )
    try:
        with output_required():
            if as_json:
                print_json(_as_json(api_key) | {"key": text})
            else:
                print(text)
            sys.stdout.flush()
    except OSError as error:
        raise BotctlError(
            f"The key {api_key.id} was created, but cannot be printed: {error.strerror or error}.",
            hint=f"It cannot be shown again: `botctl auth key revoke {api_key.id}`, then create another one.",
        ) from error
    if as_json:
        return
    end = f"until {_format_time(api_key.expires_at)}" if api_key.expires_at else "until it is revoked"
    readable = "all topics" if EVERY_TOPIC in api_key.topics else ", ".join(api_key.topics)
    typer.echo(f"Key {api_key.id} may read {readable} {end}. Copy it now: it is not shown again.", err=True)


@key.command("list")
def list_(project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """List all keys. The secret part of a key is never shown."""

    async def read(api_keys: ApiKeys) -> tuple[list[ApiKey], Malformed]:
        return await api_keys.list(), api_keys.malformed

    keys, malformed = _with_keys(project, profile, read)
    if as_json:
        print_json([_as_json(api_key) for api_key in keys])
    elif keys or not malformed.faults:
        _show_keys(keys)
    malformed.require_none()


def _show_keys(keys: Sequence[ApiKey]) -> None:
    if not keys:
        typer.echo("There are no keys. Create one with `botctl auth key create NAME`.", err=True)
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("id", "name", "topics", "expires", "last used", "uses", "state"):
        table.add_column(column, overflow="fold", no_wrap=column not in ("name", "topics"))
    now = datetime.now(UTC)
    for api_key in keys:
        ended = api_key.invalid_reason(now)
        state = "valid" if ended is None else "revoked" if api_key.revoked_at else "expired"
        days = (_format_day(at) for at in (api_key.expires_at, api_key.used_at))
        row = [api_key.id, api_key.name, ", ".join(api_key.topics), *days, str(api_key.uses), state]
        table.add_row(*(Text(cell, "dim" if ended else "") for cell in row))
    show(table)


@key.command()
def revoke(
    key_id: Annotated[
        str, typer.Argument(metavar="ID", help="The key's id, as `botctl auth key list` shows it.", show_default=False)
    ],
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key, and close the connections that use it."""
    api_key, is_newly_revoked = _with_keys(project, profile, lambda keys: keys.revoke(key_id))
    if as_json:
        print_json(_as_json(api_key))
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


def _parse_duration(text: str | None) -> timedelta | None:
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{error}.") from None


def _as_json(api_key: ApiKey) -> dict[str, Any]:
    values = dataclasses.asdict(api_key)
    return {name: iso_ms(value) if isinstance(value, datetime) else value for name, value in values.items()}


def _format_time(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%M UTC") if at else "-"


def _format_day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d}" if at else "-"

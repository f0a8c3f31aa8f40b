"""``botctl auth``: who may connect to the realtime server."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from botctl.cli.options import AsJson, Profile, Project
from botctl.cli.output import show
from botctl.cli.settings import load_settings
from botctl.core.clock import iso_ms
from botctl.core.contracts.api_keys import EVERY_TOPIC, ApiKey, ApiKeys
from botctl.core.errors import UsageError
from botctl.core.timeparse import parse_duration
from botctl.run.oneshot.api_keys import api_keys

T = TypeVar("T")

app = typer.Typer(
    add_completion=False, no_args_is_help=True, rich_markup_mode=None, help="Make, list and revoke API keys."
)
key = typer.Typer(
    add_completion=False, no_args_is_help=True, rich_markup_mode=None, help="API keys of the realtime server."
)
app.add_typer(key, name="key")


@key.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for, in your words.", show_default=False)],
    topics: Annotated[
        str, typer.Option("--topics", metavar="A,B", help="The topics that it may read; * stands for all.")
    ] = "*",
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="When it ends by itself: 12h, 30d, 8w.")
    ] = None,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it; it is shown this once."""
    lasts = _duration(expires)
    wanted = [topic.strip() for topic in topics.split(",") if topic.strip()]
    made, text = _with_keys(project, profile, lambda keys: keys.create(name, topics=wanted, valid_for=lasts))
    if as_json:
        _print_json(_plain(made) | {"key": text})
        return
    print(text)
    end = f"until {_when(made.expires_at)}" if made.expires_at else "until it is revoked"
    may = "all topics" if EVERY_TOPIC in made.topics else ", ".join(made.topics)
    typer.echo(f"Key {made.id} may read {may} {end}. It is not shown again.", err=True)


@key.command("list")
def list_(project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """List the keys, without their texts."""
    keys = _with_keys(project, profile, lambda keys: keys.list())
    if as_json:
        _print_json([_plain(each) for each in keys])
        return
    if not keys:
        typer.echo("There are no keys. `botctl auth key create NAME` makes one.", err=True)
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("id", "name", "topics", "expires", "last used", "uses", "state"):
        table.add_column(column, overflow="fold", no_wrap=column not in ("name", "topics"))
    now = datetime.now(UTC)
    for each in keys:
        ended = each.invalid_reason(now)
        state = "good" if ended is None else "revoked" if each.revoked_at else "expired"
        times = (_day(at) for at in (each.expires_at, each.used_at))
        row = [each.id, each.name, ", ".join(each.topics), *times, str(each.uses), state]
        table.add_row(*(Text(cell, "dim" if ended else "") for cell in row))
    show(table)


@key.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id; `list` shows it.", show_default=False)],
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """End a key at once; whoever is connected with it is cut."""
    ended, anew = _with_keys(project, profile, lambda keys: keys.revoke(key_id))
    if as_json:
        _print_json(_plain(ended))
    elif anew:
        print(f"Key {ended.id} is revoked.")
    else:
        print(f"Key {ended.id} was revoked before, at {_when(ended.revoked_at)}; nothing has changed.")


def _with_keys(project: Path | None, profile: str | None, ask: Callable[[ApiKeys], Awaitable[T]]) -> T:
    loaded = load_settings(project, profile)

    async def call() -> T:
        async with api_keys(loaded) as keys:
            return await ask(keys)

    return asyncio.run(call())


def _duration(text: str | None) -> timedelta | None:
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{error}.") from None


def _plain(each: ApiKey) -> dict[str, Any]:
    """``each`` as JSON knows it."""
    values = dataclasses.asdict(each)
    return {name: iso_ms(value) if isinstance(value, datetime) else value for name, value in values.items()}


def _when(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%M UTC") if at else "-"


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d}" if at else "-"


def _print_json(value: object) -> None:
    print(json.dumps(value))

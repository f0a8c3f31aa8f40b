"""``botctl auth sessions``, ``link`` and ``url``: who is signed in on the web page, and how to get there."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from botctl.cli.auth.lifetime import parse_lifetime
from botctl.cli.json_output import print_json
from botctl.cli.options import AsJson, Profile, Project, Reason
from botctl.cli.output import show
from botctl.cli.settings import load_settings
from botctl.core.config.loading import Loaded
from botctl.core.config.value_types import DISCORD_ID
from botctl.core.contracts.permissions import VIEWER
from botctl.core.contracts.sessions import Session, SessionStore
from botctl.core.errors import BotctlError, UsageError
from botctl.core.escape import safe
from botctl.core.safe_streams import output_required
from botctl.run.oneshot.sessions import open_sessions, page_url

T = TypeVar("T")
MAX_LINK: Final = timedelta(hours=1)
_REASON: Final = "ended at the terminal"

app = typer.Typer(
    add_completion=False, no_args_is_help=True, rich_markup_mode=None, help="Who is signed in on the web page."
)


@app.command("list")
def list_(
    user: Annotated[str | None, typer.Option("--user", metavar="ID", help="Only those of this Discord user.")] = None,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """List the sessions, the newest first. Their secrets are never shown."""
    loaded = load_settings(project, profile)
    _check_user(user)
    found = _with_sessions(loaded, lambda sessions: sessions.list(user))
    if as_json:
        print_json([session.as_json() for session in found])
    else:
        _show_sessions(found)


@app.command()
def revoke(
    session_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The session, as `list` shows it.", show_default=False)
    ] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="ID", help="All of this Discord user.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="All sessions, and links that were not opened.")] = False,
    reason: Reason = _REASON,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """End one session, those of a user, or all. Their pages and connections end at once, on every process."""
    loaded = load_settings(project, profile)
    if [session_id is not None, user is not None, everyone].count(True) != 1:
        raise UsageError("say which sessions to end.", hint="Name one ID, or use --user ID, or --all.")
    _check_user(user)

    async def end(sessions: SessionStore) -> int:
        if session_id is None:
            return await sessions.revoke_all(user, reason=reason)
        return int(await sessions.revoke(session_id, reason=reason) is not None)

    count = _with_sessions(loaded, end)
    if session_id is not None and not count:
        hint = "It may have ended. `botctl auth sessions list` shows those that have not."
        raise UsageError(f"there is no session {safe(session_id, 40)!r}.", hint=hint)
    if as_json:
        print_json({"ended": count})
    else:
        links = " Links that were not opened are invalid now." if everyone else ""
        print(f"{count} {'session has' if count == 1 else 'sessions have'} ended.{links}")


def link(
    role: Annotated[
        str, typer.Option("--role", metavar="ROLE", help="viewer, operator, admin or owner, for the whole bot.")
    ] = VIEWER,
    expires: Annotated[
        str, typer.Option("--expires", metavar="TIME", help="How long the link can be opened: 5m; at most 1h.")
    ] = "10m",
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Print a link that signs in once, without Discord: for when Discord is down. The first to use it has the role."""
    loaded = load_settings(project, profile)
    lifetime = parse_lifetime(expires) or timedelta(0)
    if not timedelta(0) < lifetime <= MAX_LINK:
        raise UsageError("a link can be valid for at most 1h.", hint="For example --expires 10m.")
    page = page_url(loaded)
    token = _with_sessions(loaded, lambda sessions: sessions.create_link(role, lifetime))
    _print_link(f"{page}/auth/link/{token}", as_json=as_json)
    if not as_json:
        typer.echo(f"It signs in once as {role}, within {expires}. Give it to no one else.", err=True)


def url(project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Print the address of the web page."""
    address = page_url(load_settings(project, profile))
    if as_json:
        print_json({"url": address})
    else:
        print(address)


def _print_link(address: str, *, as_json: bool) -> None:
    """Print a link. Raises BotctlError if that fails, since it cannot be shown again."""
    try:
        with output_required():
            if as_json:
                print_json({"url": address})
            else:
                print(address)
            sys.stdout.flush()
    except OSError as error:
        sentence = f"The link was made, but cannot be printed: {error.strerror or error}."
        raise BotctlError(sentence, hint="It ends by itself. Make another one.") from error


def _show_sessions(sessions: Sequence[Session]) -> None:
    if not sessions:
        typer.echo("No one is signed in. `botctl auth url` shows where the web page is.", err=True)
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("id", "who", "source", "began", "last seen", "ends", "from", "browser"):
        table.add_column(column, overflow="fold", no_wrap=column in ("id", "began", "last seen", "ends"))
    for session in sessions:
        who = f"{session.name} ({session.user})" if session.user else f"{session.role}, made by {session.made_by}"
        times = (_time(at) for at in (session.created_at, session.seen_at, session.expires_at))
        cells = (session.id, who, str(session.source), *times, session.address, session.user_agent or "-")
        table.add_row(*(Text(safe(cell, 80)) for cell in cells))
    show(table)


def _check_user(user: str | None) -> None:
    if user is not None and not DISCORD_ID.matches(user):
        sentence = f"{safe(user, 40)!r} is not a user; its id is {DISCORD_ID.description}."
        raise UsageError(sentence, hint="Copy it in Discord, or from `botctl auth sessions list`.")


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def _with_sessions(loaded: Loaded, operation: Callable[[SessionStore], Awaitable[T]]) -> T:
    async def call() -> T:
        async with open_sessions(loaded) as sessions:
            return await operation(sessions)

    return asyncio.run(call())

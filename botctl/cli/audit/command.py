"""``botctl audit``: who did what, to what, and how it came out."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated

import typer

from botctl.audit.log import Follower
from botctl.audit.query import Query
from botctl.cli.audit.view import LogView
from botctl.cli.options import AsJson, Profile, Project
from botctl.cli.settings import load_settings
from botctl.core.contracts.audit_entry import AuditOutcome
from botctl.core.errors import UsageError
from botctl.core.timeparse import parse_time
from botctl.run.oneshot.audit import audit_follower, audit_log

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, help="Read the audit log.")


@app.callback()
def audit() -> None:
    """Read the audit log."""


@app.command()
def log(
    actor: Annotated[
        str | None, typer.Option("--actor", metavar="WHO", help="An id or a name; * stands for anything.")
    ] = None,
    action: Annotated[
        str | None, typer.Option("--action", metavar="NAME", help="As command.roll, or command.* for all of them.")
    ] = None,
    guild: Annotated[str | None, typer.Option("--guild", metavar="ID", help="Only of this guild.")] = None,
    outcome: Annotated[
        str | None, typer.Option("--outcome", metavar="HOW", help="success, denied, error or unknown.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="From then on: 7d, 1h30m, 2026-01-31T18:00 (UTC).")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="WHEN", help="Before that moment.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="At most so many, the newest.")] = 50,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C; needs a bot that runs.")
    ] = False,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Show the newest entries, the newest last.

    All conditions must hold. Times are in UTC. With --json, whole entries: an array, or with --follow a line each.
    """
    loaded = load_settings(project, profile)
    query = _query(actor=actor, action=action, guild=guild, outcome=outcome, since=since, until=until)
    view = LogView(as_json=as_json)
    if follow:
        asyncio.run(_follow(audit_follower(loaded, query, limit), view))
        return

    async def newest() -> None:
        async with audit_log(loaded) as found:
            view.whole(await found.newest(query, limit), limit)

    asyncio.run(newest())


async def _follow(follower: Follower, view: LogView) -> None:
    async with aclosing(follower.turns()) as turns:
        async for turn in turns:
            view.more(turn)


def _query(
    *,
    actor: str | None,
    action: str | None,
    guild: str | None,
    outcome: str | None,
    since: str | None,
    until: str | None,
) -> Query:
    """The words of the call as a query.

    Raises:
        UsageError: one of them makes no sense.
    """
    now = datetime.now(UTC)
    if outcome is not None and outcome not in set(AuditOutcome):
        raise UsageError(f"there is no outcome {outcome[:40]!r}.", hint=f"Choose from: {', '.join(AuditOutcome)}.")
    try:
        return Query(
            actor=None if actor is None else actor.removeprefix("@"),
            action=action,
            guild=guild,
            outcome=None if outcome is None else AuditOutcome(outcome),
            since=None if since is None else parse_time(since, now),
            until=None if until is None else parse_time(until, now),
        )
    except ValueError as error:
        raise UsageError(f"{error}.") from None

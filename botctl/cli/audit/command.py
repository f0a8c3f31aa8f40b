"""``botctl audit``: read the audit log."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated

import typer

from botctl.audit.actions import describe_unknown
from botctl.audit.log import Follower
from botctl.audit.query import Query
from botctl.cli.audit.view import LogView
from botctl.cli.options import AsJson, Profile, Project
from botctl.cli.settings import load_settings
from botctl.core.contracts.audit_entry import AuditOutcome
from botctl.core.errors import UsageError
from botctl.core.safe_streams import output_required
from botctl.core.timeparse import parse_time
from botctl.run.oneshot.audit import build_audit_follower, open_audit_log

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, help="Read the audit log.")


@app.callback()
def audit() -> None:
    """Read the audit log."""


@app.command()
def log(
    actor: Annotated[
        str | None, typer.Option("--actor", metavar="WHO", help="The id or name of the actor; * matches any text.")
    ] = None,
    action: Annotated[
        str | None, typer.Option("--action", metavar="NAME", help="For example command.roll, or command.* for all.")
    ] = None,
    guild: Annotated[str | None, typer.Option("--guild", metavar="ID", help="Only entries of this guild.")] = None,
    outcome: Annotated[
        str | None, typer.Option("--outcome", metavar="HOW", help="success, denied, error or unknown.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="From this time on: 7d or 1h30m ago, or 2026-01-31T18:00 (UTC)."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="WHEN", help="Before this time; written like --since.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=100_000, help="Show at most this many, the newest.")
    ] = 50,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Also show new entries as they come, until Ctrl-C.")
    ] = False,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Show the newest entries, the newest last.

    An entry is shown if it fits all options. Times are in UTC. --json prints complete entries: one array, or with
    --follow one entry per line. --follow waits while no `botctl run` is up.
    """
    loaded = load_settings(project, profile)
    query = _build_query(actor=actor, action=action, guild=guild, outcome=outcome, since=since, until=until)
    view = LogView(as_json=as_json, hint=describe_unknown(action) if action else "")
    if follow:
        with output_required():
            asyncio.run(_follow(build_audit_follower(loaded, query, limit), view))
        return

    async def print_newest() -> None:
        async with open_audit_log(loaded) as audit_log:
            view.print_entries(await audit_log.newest(query, limit), limit)

    asyncio.run(print_newest())


async def _follow(follower: Follower, view: LogView) -> None:
    async with aclosing(follower.batches()) as batches:
        async for batch in batches:
            view.print_batch(batch)


def _build_query(
    *,
    actor: str | None,
    action: str | None,
    guild: str | None,
    outcome: str | None,
    since: str | None,
    until: str | None,
) -> Query:
    """Convert the command's options to a query. Raises UsageError for a wrong value."""
    now = datetime.now(UTC)
    if outcome is not None and outcome not in set(AuditOutcome):
        raise UsageError(
            f"there is no outcome {outcome[:40]!r}.", hint=f"Choose one for --outcome: {', '.join(AuditOutcome)}."
        )
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

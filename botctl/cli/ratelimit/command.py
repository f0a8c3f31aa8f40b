"""``botctl ratelimit``: show and reset rate limits.

A policy is a named set of limits, mostly those of a command. A subject is what calls are counted for: a user, a guild.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from botctl.cli import output
from botctl.cli.json_output import print_json
from botctl.cli.options import AsJson, Profile, Project, Reason
from botctl.cli.settings import load_settings
from botctl.core.errors import UsageError
from botctl.core.escape import safe
from botctl.core.plural import counted
from botctl.ratelimit.inspect import LimitStatus, PolicyRow
from botctl.ratelimit.keys import Subject, parse_subject
from botctl.run.oneshot.ratelimit import open_rate_limits, reset_limits

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, help="Show and reset rate limits.")

SubjectArgument = Annotated[
    str,
    typer.Argument(
        metavar="SUBJECT",
        help="user:ID, member:GUILD-USER, channel:ID, guild:ID, key:ID, address:IP or global.",
        show_default=False,
    ),
]
PolicyOption = Annotated[
    str | None,
    typer.Option("--policy", metavar="NAME", help="Only this policy; `botctl ratelimit list` shows the names."),
]


@app.command("list")
def list_(project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """List the policies, with their checks and denials in the last 24 hours."""
    loaded = load_settings(project, profile)

    async def read() -> list[PolicyRow]:
        async with open_rate_limits(loaded) as inspector:
            return await inspector.policies(time.time())

    rows = asyncio.run(read())
    if as_json:
        _print_json(rows)
    elif rows:
        _print_table(
            ("policy", "limits", "subjects", "checks 24 h", "denied 24 h"),
            [(row.policy, row.limits, str(row.subjects), str(row.checks), str(row.denied)) for row in rows],
        )
    else:
        typer.echo("No policies are known yet. Start the bot with `botctl run`.", err=True)


@app.command()
def show(
    subject: SubjectArgument,
    policy: PolicyOption = None,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Show the used and remaining calls of a subject, for each limit. Unused limits are not shown."""
    limited = _parse_subject(subject)
    loaded = load_settings(project, profile)

    async def read() -> list[LimitStatus]:
        async with open_rate_limits(loaded) as inspector:
            return await inspector.statuses(limited, policy)

    statuses = asyncio.run(read())
    if as_json:
        _print_json(statuses)
    elif statuses:
        _print_table(
            ("policy", "limit", "subject", "used", "left", "next in", "full in"),
            [_build_row(status) for status in statuses],
        )
    else:
        typer.echo(f"{limited} has used no limit, or every used limit is full again.", err=True)


@app.command()
def reset(
    subject: SubjectArgument,
    policy: PolicyOption = None,
    reason: Reason = "",
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Reset the limits of a subject, in all processes at once. The audit log records it."""
    limited = _parse_subject(subject)
    keys = asyncio.run(reset_limits(load_settings(project, profile), limited, policy, reason))
    if as_json:
        print_json({"subject": str(limited), "reset": [key._asdict() for key in keys]})
    else:
        policies = ", ".join(sorted({safe(key.policy) for key in keys}))
        result = f"{counted(len(keys), 'limit')} reset ({policies})" if keys else "there was nothing to reset"
        print(f"{limited}: {result}.")


def _parse_subject(text: str) -> Subject:
    try:
        return parse_subject(text)
    except ValueError as error:
        raise UsageError(f"{error}.") from None


def _build_row(status: LimitStatus) -> tuple[str, ...]:
    full_in = _format_seconds(status.full_in_s)
    if status.limit is None or status.retry_after_s is None:
        return (status.policy, "?", f"{status.scope}:{status.subject}", "?", "?", "?", full_in)
    next_in = _format_seconds(status.retry_after_s) if status.retry_after_s else "now"
    subject = f"{status.scope.partition('-')[0]}:{status.subject}"
    return (status.policy, status.limit, subject, str(status.used), str(status.left), next_in, full_in)


def _format_seconds(seconds: float) -> str:
    """In the largest unit of which there are at least two: ``1.8 s``, ``2 min``, ``3 h``."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in head:
        table.add_column(
            name, overflow="fold", justify="left" if name in ("policy", "limits", "limit", "subject") else "right"
        )
    for row in rows:
        table.add_row(*(Text(safe(cell)) for cell in row))
    output.show(table)


def _print_json(rows: Sequence[PolicyRow] | Sequence[LimitStatus]) -> None:
    print_json([dataclasses.asdict(row) for row in rows])

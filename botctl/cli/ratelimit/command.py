"""``botctl ratelimit``: which limits there are, where somebody stands, and a reset."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from botctl.cli import output
from botctl.cli.number_format import format_count
from botctl.cli.options import AsJson, Profile, Project
from botctl.cli.settings import load_settings
from botctl.core.errors import UsageError
from botctl.core.escape import safe
from botctl.ratelimit.inspect import LimitStatus, PolicyRow
from botctl.ratelimit.keys import Subject, subject_of
from botctl.run.oneshot.ratelimit import open_rate_limits, reset_limits

app = typer.Typer(
    add_completion=False, no_args_is_help=True, rich_markup_mode=None, help="Look at rate limits, and reset them."
)

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
    typer.Option("--policy", metavar="NAME", help="Only of this policy: a command's name, as list shows it."),
]


@app.command("list")
def list_(project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """List the policies, and how often they were asked in the last 24 hours."""
    loaded = load_settings(project, profile)

    async def ask() -> list[PolicyRow]:
        async with open_rate_limits(loaded) as limits:
            return await limits.policies(time.time())

    rows = asyncio.run(ask())
    if as_json:
        _print_json(rows)
    elif rows:
        _print_table(
            ("policy", "limits", "subjects", "checks 24 h", "denied 24 h"),
            [(row.policy, row.limits, str(row.subjects), str(row.checks), str(row.denied)) for row in rows],
        )
    else:
        typer.echo("No policies are known: a bot tells its own when it runs.", err=True)


@app.command()
def show(
    subject: SubjectArgument,
    policy: PolicyOption = None,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Show where somebody stands. What is not shown is unused."""
    who = _parse_subject(subject)
    loaded = load_settings(project, profile)

    async def ask() -> list[LimitStatus]:
        async with open_rate_limits(loaded) as limits:
            return await limits.places(who, policy)

    places = asyncio.run(ask())
    if as_json:
        _print_json(places)
    elif places:
        _print_table(
            ("policy", "limit", "whose", "used", "left", "next in", "full in"), [_cells(place) for place in places]
        )
    else:
        typer.echo(f"{who} has used none of it, or has it all back.", err=True)


@app.command()
def reset(
    subject: SubjectArgument,
    policy: PolicyOption = None,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Give somebody the whole allowance back, at once and in every process; it is audited."""
    who = _parse_subject(subject)
    gone = asyncio.run(reset_limits(load_settings(project, profile), who, policy))
    if as_json:
        print(json.dumps({"subject": str(who), "reset": [key._asdict() for key in gone]}))
    else:
        policies = ", ".join(sorted({safe(key.policy) for key in gone}))
        what = f"{format_count(len(gone), 'limit')} reset ({policies})" if gone else "there was nothing to reset"
        print(f"{who}: {what}.")


def _parse_subject(text: str) -> Subject:
    try:
        return subject_of(text)
    except ValueError as error:
        raise UsageError(f"{error}.") from None


def _cells(place: LimitStatus) -> tuple[str, ...]:
    if place.limit is None or place.retry_after_s is None:
        return (place.policy, "?", f"{place.scope}:{place.subject}", "?", "?", "?", _format_seconds(place.full_in_s))
    next_in = _format_seconds(place.retry_after_s) if place.retry_after_s else "now"
    whose = f"{place.scope.partition('-')[0]}:{place.subject}"
    return (
        place.policy,
        place.limit,
        whose,
        str(place.used),
        str(place.left),
        next_in,
        _format_seconds(place.full_in_s),
    )


def _format_seconds(seconds: float) -> str:
    """Two figures are enough for a person: ``1.8 s``, ``2 min``, ``3 h``."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in head:
        table.add_column(
            name, overflow="fold", justify="left" if name in ("policy", "limits", "limit", "whose") else "right"
        )
    for row in rows:
        table.add_row(*(Text(safe(cell)) for cell in row))
    output.show(table)


def _print_json(rows: Sequence[PolicyRow] | Sequence[LimitStatus]) -> None:
    print(json.dumps([dataclasses.asdict(row) for row in rows]))

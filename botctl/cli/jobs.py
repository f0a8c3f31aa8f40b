"""``botctl jobs``: what is done by the clock: listed, paused, asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from botctl.cli.options import AsJson, Profile, Project, load_settings

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from rich.table import Table

    from botctl.jobs.desk import Answer, Line

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Show, run, pause and resume scheduled jobs.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The job's name.", show_default=False)]


@app.command("list")
def list_(project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Show every job: when it is due, and how its last run came out."""
    import asyncio

    from botctl.app import job_desk

    loaded = load_settings(project, profile)

    async def ask() -> tuple[list[Line], str | None]:
        async with job_desk(loaded) as desk:
            return await desk.lines(), await desk.holder()

    lines, holder = asyncio.run(ask())
    if as_json:
        import json

        print(json.dumps([_plain(line) for line in lines]))
        return
    from datetime import UTC, datetime

    from rich.text import Text

    from botctl.cli.output import show
    from botctl.core.escape import safe

    said = f"scheduled by {safe(holder)}" if holder else "nobody schedules them now; `botctl run` does"
    show(_table(lines, datetime.now(UTC)), Text(said, "dim"))


@app.command()
def run(name: Name, project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Run a job now and wait for its end.

    The process that schedules runs it; where there is none, this one does. Exit code 1 when it fails, 6 when it was
    stopped half way. It is run even if you stop waiting.
    """
    import asyncio

    from botctl.app import job_desk
    from botctl.core.jobs import Result

    loaded = load_settings(project, profile)

    async def ask() -> Answer:
        async with job_desk(loaded, run=name) as desk:
            return await desk.run(name)

    answer = asyncio.run(ask())
    if as_json:
        import dataclasses
        import json

        print(json.dumps({"name": name} | dataclasses.asdict(answer)))
    elif answer.result is Result.OK:
        where = "here, since nothing schedules" if answer.here else "by the process that schedules"
        print(f"{name}: ok in {answer.took_ms} ms, run {where}")
    _judge(name, answer)


@app.command()
def pause(name: Name, project: Project = None, profile: Profile = None) -> None:
    """Let a job's due times pass by until it is resumed."""
    _pause(name, project, profile, paused=True)


@app.command()
def resume(name: Name, project: Project = None, profile: Profile = None) -> None:
    """Let a job go on with its next due time; what has passed meanwhile is not made up."""
    _pause(name, project, profile, paused=False)


def _pause(name: str, project: Path | None, profile: str | None, *, paused: bool) -> None:
    import asyncio

    from botctl.app import job_desk

    loaded = load_settings(project, profile)

    async def ask() -> bool:
        async with job_desk(loaded) as desk:
            return await desk.pause(name, paused=paused)

    changed = asyncio.run(ask())
    print(f"{name} {'is' if changed else 'was already'} {'paused' if paused else 'scheduled'}")


def _judge(name: str, answer: Answer) -> None:
    """Raise what a run that did not come out well means."""
    from botctl.core.errors import BotctlError, Held
    from botctl.core.jobs import Result

    where = f"The log of the process that ran it has more under {answer.error_id}." if not answer.here else ""
    match answer.result:
        case Result.FAILED:
            raise BotctlError(f"{name} failed.", hint=where)
        case Result.TIMEOUT:
            raise BotctlError(f"{name} took longer than it may and was cancelled.", hint=where)
        case Result.CANCELLED | Result.LOST:
            raise Held(f"{name} was stopped half way: its process ended.", hint="How far it came is not known.")


def _plain(line: Line) -> dict[str, Any]:
    """A job as JSON: times are ISO 8601 in UTC; what is not known is null."""
    job, record = line.job, line.record
    times = ("next_due", "last_due", "last_run", "last_end")
    others = ("outcome", "error_id", "took_ms", "run", "runs", "skipped", "lost", "fence")
    return {
        "name": line.name,
        "about": job.about if job else None,
        "schedule": job.schedule.text if job else record.schedule if record else None,
        "missed": job.missed if job else record.missed if record else None,
        "declared": job is not None,
        "paused": record.paused if record else False,
        **{key: _iso(getattr(record, key, None)) for key in times},
        **{key: getattr(record, key, None) for key in others},
    }


def _iso(at: datetime | None) -> str | None:
    from botctl.core.clock import iso_ms

    return None if at is None else iso_ms(at)


def _table(lines: list[Line], now: datetime) -> Table:
    from rich.table import Table
    from rich.text import Text

    from botctl.core.escape import safe

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("job", "when", "next", "last run", "outcome", "took", "runs"):
        table.add_column(column, justify="right" if column in ("took", "runs") else "left")
    for line in lines:
        row = _plain(line)
        outcome, style = _outcome(line)
        took = "" if row["took_ms"] is None else f"{row['took_ms']} ms"
        last = line.record.last_run if line.record else None
        table.add_row(
            Text(safe(line.name), "bold"),
            safe(row["schedule"]),
            _next(line, now),
            "never" if last is None else f"{_ago(now, last)} ago",
            Text(outcome, style),
            took,
            str(row["runs"] or 0),
        )
    return table


def _outcome(line: Line) -> tuple[str, str]:
    from botctl.core.jobs import Result

    record = line.record
    if record is None or (record.outcome is None and record.run is None):
        return "", ""
    if record.run is not None:
        return "running", "cyan"
    number = f" [{record.error_id}]" if record.error_id else ""
    return f"{record.outcome}{number}", "green" if record.outcome is Result.OK else "red"


def _next(line: Line, now: datetime) -> str:
    if line.job is None:
        return "not declared any more"
    if line.record is None:
        return "when it is scheduled"
    if line.record.paused:
        return "paused"
    due = line.record.next_due
    return f"in {_ago(due, now)}" if due > now else f"due for {_ago(now, due)}"


def _ago(later: datetime, earlier: datetime) -> str:
    """The time between, in the largest unit that fits: ``45 s``, ``3 min``, ``5 h``, ``2 d``."""
    seconds = max(0, round((later - earlier).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"

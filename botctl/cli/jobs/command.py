"""``botctl jobs``: what is done by the clock: listed, paused, asked for."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from botctl.cli.options import AsJson, Profile, Project
from botctl.cli.output import show
from botctl.cli.settings import load_settings
from botctl.core.clock import iso_ms
from botctl.core.contracts.jobs import RunResult
from botctl.core.contracts.lease import LeaseHolder
from botctl.core.errors import BotctlError, Held
from botctl.core.escape import safe
from botctl.jobs.admin import JobStatus, RunReport
from botctl.run.oneshot.jobs import jobs_admin

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Show, run, pause and resume scheduled jobs.",
)

_SILENT = "its process died, or was silent for too long"

Name = Annotated[str, typer.Argument(metavar="NAME", help="The job's name.", show_default=False)]


@app.command("list")
def list_(project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Show every job: when it is due, and how its last run came out."""
    loaded = load_settings(project, profile)

    async def ask() -> tuple[list[JobStatus], LeaseHolder | None]:
        async with jobs_admin(loaded) as desk:
            return await desk.lines(), await desk.holder()

    lines, holder = asyncio.run(ask())
    if as_json:
        print(json.dumps([_plain(line) for line in lines]))
        return
    notes = [Text(note, "dim") for note in (*_details(lines), _scheduler(holder))]
    show(_table(lines, datetime.now(UTC)), *notes)


@app.command()
def run(name: Name, project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Run a job now and wait for its end.

    The process that schedules runs it; where there is none, this one does, unless migrations are pending (exit code 3).
    Exit code 1 when it fails, 6 when it was stopped half way. It is run even if you stop waiting.
    """
    loaded = load_settings(project, profile)

    async def ask() -> RunReport:
        async with jobs_admin(loaded, run=name) as desk:
            return await desk.run(name, _ignore if as_json else _say)

    answer = _answer(ask())
    if as_json:
        print(json.dumps({"name": name} | dataclasses.asdict(answer)))
    elif answer.result is RunResult.OK:
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
    loaded = load_settings(project, profile)

    async def ask() -> bool:
        async with jobs_admin(loaded) as desk:
            return await desk.pause(name, paused=paused)

    changed = asyncio.run(ask())
    print(f"{name} {'is' if changed else 'was already'} {'paused' if paused else 'scheduled'}")


def _answer(ask: Coroutine[Any, Any, RunReport]) -> RunReport:
    """The answer. A run here that does not heed its cancellation is left to end with the process."""
    with ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner())
        answer = runner.run(ask)
        if answer.stubborn and answer.here:
            runner.get_loop().set_exception_handler(lambda *_: None)  # asyncio would tell of the task that is left
            stack.pop_all()  # to close the loop is to wait for all its tasks
    return answer


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _ignore(_sentence: str) -> None:
    """With --json nothing but the answer, or the error, is said."""


def _judge(name: str, answer: RunReport) -> None:
    """Raise what a run that did not come out well means."""
    where = f"The log of the process that ran it has more under {answer.error_id}." if not answer.here else ""
    if answer.stubborn:
        fate = "It ends with this process." if answer.here else "`botctl jobs list` tells when it has ended."
        hint = f"{fate} Let it pass on asyncio.CancelledError."
        raise BotctlError(f"{name} took too long: {answer.detail}.", hint=hint)
    match answer.result:
        case RunResult.FAILED:
            raise BotctlError(f"{name} failed.", hint=where)
        case RunResult.TIMEOUT:
            raise BotctlError(f"{name} took longer than it may and was cancelled.", hint=where)
        case RunResult.CANCELLED | RunResult.LOST:
            why = answer.detail or ("its process stopped" if answer.result is RunResult.CANCELLED else _SILENT)
            raise Held(f"{name} was stopped half way: {why}.", hint="How far it came is not known.")


def _plain(line: JobStatus) -> dict[str, Any]:
    """A job as JSON: times are ISO 8601 in UTC; what is not known is null."""
    job, record = line.job, line.record
    times = ("next_due", "last_due", "last_run", "last_end")
    others = ("outcome", "detail", "error_id", "took_ms", "run", "runs", "skipped", "lost", "fence")
    return {
        "name": line.name,
        "about": job.summary if job else None,
        "schedule": job.schedule.text if job else record.schedule if record else None,
        "missed": job.missed if job else record.missed if record else None,
        "declared": job is not None,
        "removed": _iso(record.removed) if record else None,
        "paused": record.paused if record else False,
        "stubborn": record.unresponsive if record else False,
        **{key: _iso(getattr(record, key, None)) for key in times},
        **{key: getattr(record, key, None) for key in others},
    }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else iso_ms(at)


def _table(lines: list[JobStatus], now: datetime) -> Table:
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


def _details(lines: list[JobStatus]) -> Iterator[str]:
    """What is known beyond a word of how runs came out."""
    for line in lines:
        if line.record is not None and line.record.detail and line.record.removed is None:
            yield f"{safe(line.name)}: {safe(line.record.detail)}"


def _scheduler(holder: LeaseHolder | None) -> str:
    """Who schedules, and whether there are doubts about that."""
    if holder is None:
        return "nobody schedules them now; `botctl run` does"
    who, sign = safe(holder.process), f"last sign {holder.silent_s:.0f} s ago"
    if holder.expired:
        return f"nobody schedules them now; {who} did ({sign}), and has gone without a word"
    if holder.overdue:
        return f"scheduled by {who}, which may be gone ({sign}); another process takes over after {holder.ttl_s:g} s"
    return f"scheduled by {who} ({sign})"


def _outcome(line: JobStatus) -> tuple[str, str]:
    record = line.record
    if record is None or (record.outcome is None and record.run is None):
        return "", ""
    if record.run is not None:
        return ("stubborn", "red") if record.unresponsive else ("running", "cyan")
    number = f" [{record.error_id}]" if record.error_id else ""
    return f"{record.outcome}{number}", "green" if record.outcome is RunResult.OK else "red"


def _next(line: JobStatus, now: datetime) -> str:
    if line.record is not None and line.record.removed is not None:
        return "removed"
    if line.job is None:
        return "not in these files"
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

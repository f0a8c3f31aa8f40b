"""``botctl jobs``: list, run, pause and resume scheduled jobs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from botctl.cli.json_output import print_json
from botctl.cli.options import AsJson, Profile, Project, Reason
from botctl.cli.output import WIDE, show
from botctl.cli.settings import load_settings
from botctl.cli.text_layout import to_text, wrap_items
from botctl.core.contracts.jobs import RunResult, record_fields
from botctl.core.contracts.lease import LeaseHolder
from botctl.core.contracts.malformed import Malformed
from botctl.core.errors import BotctlError, Held
from botctl.core.escape import safe
from botctl.jobs.admin import JobStatus, RunReport
from botctl.run.oneshot.jobs import open_job_admin

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Show, run, pause and resume scheduled jobs.",
)

_DIED = "its process died, or did not report for too long"

_COLUMNS = ("job", "when", "next", "last run", "outcome", "took", "runs")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The job's name.", show_default=False)]


@app.command("list")
def list_(project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Show all jobs: when each is due next, and the result of its last run."""
    loaded = load_settings(project, profile)

    async def read() -> tuple[list[JobStatus], LeaseHolder | None, Malformed]:
        async with open_job_admin(loaded) as admin:
            return await admin.statuses(), await admin.holder(), admin.malformed

    statuses, holder, malformed = asyncio.run(read())
    if as_json:
        print_json([_as_json(status) for status in statuses])
    else:
        notes = [Text(note, "dim") for note in (*_detail_lines(statuses), _describe_scheduler(holder))]
        show(_JobList(_build_table(statuses, datetime.now(UTC))), *notes)
    malformed.require_none()


@app.command()
def run(
    name: Name, reason: Reason = "", project: Project = None, profile: Profile = None, as_json: AsJson = False
) -> None:
    """Run a job now and wait for its end.

    The process that schedules jobs runs it, even if you stop waiting. If there is no such process, this one runs the
    job, unless migrations are pending (exit code 3). Exit code 1 if the job fails, 6 if it was stopped before its end.
    """
    loaded = load_settings(project, profile)

    async def run_job() -> RunReport:
        async with open_job_admin(loaded, run=name) as admin:
            return await admin.run(name, _discard_progress if as_json else _print_progress, reason=reason)

    report = _run_to_report(run_job())
    if as_json:
        print_json({"name": name} | report.as_json())
    elif report.result is RunResult.OK:
        where = "in this process, because no scheduler is running" if report.here else "by the scheduler's process"
        print(f"{name}: ok in {report.took_ms} ms, run {where}")
    _raise_for_result(name, report)


@app.command()
def pause(name: Name, reason: Reason = "", project: Project = None, profile: Profile = None) -> None:
    """Skip all due times of a job until it is resumed."""
    _set_paused(name, reason, project, profile, paused=True)


@app.command()
def resume(name: Name, reason: Reason = "", project: Project = None, profile: Profile = None) -> None:
    """Run a paused job again, from its next due time on. Due times during the pause are skipped."""
    _set_paused(name, reason, project, profile, paused=False)


def _set_paused(name: str, reason: str, project: Path | None, profile: str | None, *, paused: bool) -> None:
    loaded = load_settings(project, profile)

    async def change() -> bool:
        async with open_job_admin(loaded) as admin:
            return await admin.set_paused(name, paused=paused, reason=reason)

    changed = asyncio.run(change())
    print(f"{name} {'is' if changed else 'was already'} {'paused' if paused else 'scheduled'}")


def _run_to_report(run_job: Coroutine[Any, Any, RunReport]) -> RunReport:
    """Run ``run_job`` and return its report, without waiting for a job of this process that ignores cancellation."""
    with ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner())
        report = runner.run(run_job)
        if report.unresponsive and report.here:
            runner.get_loop().set_exception_handler(lambda *_: None)  # asyncio would report the task that is left
            stack.pop_all()  # closing the loop would wait for all its tasks
    return report


def _print_progress(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _discard_progress(_sentence: str) -> None:
    """With --json only the report or the error is printed."""


def _raise_for_result(name: str, report: RunReport) -> None:
    hint = "" if report.here else f"Search for {report.error_id} in the log of the scheduler's process."
    if report.unresponsive:
        end = "It ends with this process." if report.here else "`botctl jobs list` shows when it has ended."
        hint = f"{end} Change the job so that it does not catch asyncio.CancelledError."
        raise BotctlError(f"{name} took too long: {report.detail}.", hint=hint)
    match report.result:
        case RunResult.FAILED:
            raise BotctlError(f"{name} failed.", hint=hint)
        case RunResult.TIMEOUT:
            raise BotctlError(f"{name} exceeded its timeout and was cancelled.", hint=hint)
        case RunResult.CANCELLED | RunResult.LOST:
            reason = report.detail or ("its process stopped" if report.result is RunResult.CANCELLED else _DIED)
            raise Held(
                f"{name} was stopped before its end: {reason}.",
                hint=f"Check how far it got; `botctl jobs run {name}` runs it again.",
            )


def _as_json(status: JobStatus) -> dict[str, Any]:
    """A job as JSON: times are ISO 8601 in UTC; unknown values are null."""
    job, record = status.job, status.record
    return {
        "name": status.name,
        "about": job.summary if job else None,
        "schedule": job.schedule.text if job else record.schedule if record else None,
        "missed": job.missed if job else record.missed if record else None,
        "declared": job is not None,
        **record_fields(record),
    }


@dataclass(frozen=True)
class _JobList:
    """``table``, or where it is too wide, the name of each job on a line of its own, and the rest wrapped below it."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        if Measurement.get(console, options.update(max_width=WIDE), self.table).maximum <= options.max_width:
            yield self.table
            return
        for name, *others in zip(*(column.cells for column in self.table.columns), strict=True):
            yield name
            facts = ((head, cell) for head, cell in zip(_COLUMNS[1:], others, strict=True) if cell)
            items = [Text(f"{head} ", "dim") + to_text(cell) for head, cell in facts]
            yield from (Text("  ") + line for line in wrap_items(items, max(1, options.max_width - 2)))


def _build_table(statuses: list[JobStatus], now: datetime) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in _COLUMNS:
        table.add_column(column, justify="right" if column in ("took", "runs") else "left")
    for status in statuses:
        row = _as_json(status)
        outcome, style = _format_outcome(status)
        took = "" if row["took_ms"] is None else f"{row['took_ms']} ms"
        last = status.record.last_run if status.record else None
        table.add_row(
            Text(safe(status.name), "bold"),
            safe(row["schedule"]),
            _format_next(status, now),
            "never" if last is None else f"{_format_age(now, last)} ago",
            Text(outcome, style),
            took,
            str(row["runs"] or 0),
        )
    return table


def _detail_lines(statuses: list[JobStatus]) -> Iterator[str]:
    """One line for each job that has a ``detail`` (a sentence about its last run) and is not removed."""
    for status in statuses:
        if status.record is not None and status.record.detail and status.record.removed is None:
            yield f"{safe(status.name)}: {safe(status.record.detail)}"


def _describe_scheduler(holder: LeaseHolder | None) -> str:
    """Which process schedules the jobs, and whether it may have ended."""
    if holder is None:
        return "no process schedules these jobs now; start one with `botctl run`"
    process, sign = safe(holder.process), f"last sign of life {holder.silent_s:.0f} s ago"
    if holder.expired:
        return f"no process schedules these jobs now: {process} has died ({sign}); start one with `botctl run`"
    if holder.overdue:
        return f"scheduled by {process}, which may have died ({sign}); another can take over after {holder.ttl_s:g} s"
    return f"scheduled by {process} ({sign})"


def _format_outcome(status: JobStatus) -> tuple[str, str]:
    """The result of the last run as text, and its Rich style."""
    record = status.record
    if record is None or (record.outcome is None and record.run is None):
        return "", ""
    if record.run is not None:
        return ("unresponsive", "red") if record.unresponsive else ("running", "cyan")
    error_id = f" [{record.error_id}]" if record.error_id else ""
    return f"{record.outcome}{error_id}", "green" if record.outcome is RunResult.OK else "red"


def _format_next(status: JobStatus, now: datetime) -> str:
    if status.record is not None and status.record.removed is not None:
        return "removed"
    if status.job is None:
        return "not in these files"
    if status.record is None:
        return "not scheduled yet"
    if status.record.paused:
        return "paused"
    due = status.record.next_due
    return f"in {_format_age(due, now)}" if due > now else f"overdue for {_format_age(now, due)}"


def _format_age(later: datetime, earlier: datetime) -> str:
    """The time from ``earlier`` to ``later``, in one unit: ``45 s``, ``3 min``, ``5 h``, ``2 d``."""
    seconds = max(0, round((later - earlier).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"

"""The output of `botctl jobs`: the table, the JSON, and the error of a run."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from botctl.cli.jobs.command import (
    _as_json,
    _build_table,
    _describe_scheduler,
    _detail_lines,
    _JobList,
    _raise_for_result,
)
from botctl.core.contracts.jobs import JobRecord, MissedPolicy, RunResult
from botctl.core.contracts.lease import LeaseHolder
from botctl.core.errors import BotctlError, ExitCode
from botctl.jobs.admin import JobStatus, RunReport
from tests.support.jobs import make_job

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
RECORD = JobRecord(name="tidy", schedule="every 1m", missed=MissedPolicy.ONCE, next_due=NOW + timedelta(minutes=5))
RAN = replace(RECORD, last_run=NOW - timedelta(seconds=40), outcome=RunResult.OK, took_ms=12, runs=7)


async def tidy() -> None:
    """Put things in order."""


JOB = make_job(tidy)


def shown(*lines: JobStatus) -> list[str]:
    console = Console(file=io.StringIO(), width=120)
    console.print(_build_table(list(lines), NOW))
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()[1:]]


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (None, "tidy every 1m not scheduled yet never 0"),
        (RECORD, "tidy every 1m in 5 min never 0"),
        (RAN, "tidy every 1m in 5 min 40 s ago ok 12 ms 7"),
        (replace(RAN, paused=True), "tidy every 1m paused 40 s ago ok 12 ms 7"),
        (replace(RAN, run="1", took_ms=None), "tidy every 1m in 5 min 40 s ago running 7"),
        (replace(RAN, run="1", took_ms=None, unresponsive=True), "tidy every 1m in 5 min 40 s ago unresponsive 7"),
        (replace(RAN, next_due=NOW - timedelta(hours=3)), "tidy every 1m overdue for 3 h 40 s ago ok 12 ms 7"),
        (
            replace(RAN, outcome=RunResult.FAILED, error_id="abcd2345"),
            "tidy every 1m in 5 min 40 s ago failed [abcd2345] 12 ms 7",
        ),
    ],
)
def test_job_is_one_line(record, line):
    assert shown(JobStatus("tidy", JOB, record)) == [line]


@pytest.mark.parametrize("width", [40, 60, 79])
def test_names_of_jobs_are_whole_in_narrow_terminals(width):
    console = Console(file=io.StringIO(), width=width)
    failed = replace(RAN, outcome=RunResult.FAILED, error_id="abcd2345")
    statuses = [JobStatus(name, JOB, failed) for name in ("send-the-report-to-everyone", "tidy")]
    console.print(_JobList(_build_table(statuses, NOW)))
    lines = console.file.getvalue().splitlines()
    assert {"send-the-report-to-everyone", "tidy"} <= {line.strip() for line in lines}
    text = " ".join(" ".join(lines).split())
    facts = "when every 1m next in 5 min last run 40 s ago outcome failed [abcd2345] took 12 ms runs 7"
    assert text == f"send-the-report-to-everyone {facts} tidy {facts}"
    assert max(map(len, lines)) <= width


def test_job_without_code_is_marked():
    removed = replace(RAN, removed=NOW, outcome=RunResult.FAILED, detail="it was silent")
    assert shown(JobStatus("tidy", None, removed)) == ["tidy every 1m removed 40 s ago failed 12 ms 7"]
    assert list(_detail_lines([JobStatus("tidy", None, removed)])) == []
    assert shown(JobStatus("tidy", None, RAN)) == ["tidy every 1m not in these files 40 s ago ok 12 ms 7"]


def test_json_has_every_field_even_if_unknown():
    known, unknown = _as_json(JobStatus("tidy", JOB, RAN)), _as_json(JobStatus("tidy", JOB, None))
    assert set(known) == set(unknown)
    assert (known["next_due"], known["about"]) == ("2026-01-05T12:05:00.000Z", "Put things in order.")
    assert (unknown["next_due"], unknown["schedule"], unknown["paused"]) == (None, "every 1m", False)


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (RunResult.FAILED, ExitCode.FAILED),
        (RunResult.TIMEOUT, ExitCode.FAILED),
        (RunResult.CANCELLED, ExitCode.HELD),
        (RunResult.LOST, ExitCode.HELD),
    ],
)
def test_unsuccessful_run_has_an_exit_code(result, code):
    with pytest.raises(BotctlError) as caught:
        _raise_for_result("tidy", RunReport("1", result, here=False, error_id="abcd2345"))
    assert caught.value.exit_code is code


def test_successful_run_is_no_error():
    _raise_for_result("tidy", RunReport("1", RunResult.OK, here=True))


def test_detail_of_a_run_is_printed_below_the_table():
    status = JobStatus("tidy", JOB, replace(RAN, detail="its process lost the lease: \x1b[31mwhy"))
    assert list(_detail_lines([status])) == ["tidy: its process lost the lease: \\x1b[31mwhy"]


@pytest.mark.parametrize(
    ("holder", "text"),
    [
        (None, "no process schedules these jobs now; start one with `botctl run`"),
        (LeaseHolder("vps:7", 3, 15), "scheduled by vps:7 (last sign of life 3 s ago)"),
        (
            LeaseHolder("vps:7", 9, 15),
            "scheduled by vps:7, which may have died (last sign of life 9 s ago); another can take over after 15 s",
        ),
        (
            LeaseHolder("vps:7", 99, 15),
            (
                "no process schedules these jobs now: vps:7 has died (last sign of life 99 s ago);"
                " start one with `botctl run`"
            ),
        ),
    ],
)
def test_scheduler_is_named_with_its_state(holder, text):
    assert _describe_scheduler(holder) == text


@pytest.mark.parametrize(
    ("report", "code", "message"),
    [
        (
            RunReport(
                "1", RunResult.TIMEOUT, here=True, unresponsive=True, detail="it was cancelled after 5 s and goes on"
            ),
            ExitCode.FAILED,
            "tidy took too long: it was cancelled after 5 s and goes on.",
        ),
        (
            RunReport("1", RunResult.CANCELLED, here=False, detail="its process lost the lease: it was blocked"),
            ExitCode.HELD,
            "tidy was stopped before its end: its process lost the lease: it was blocked.",
        ),
        (
            RunReport("1", RunResult.LOST, here=False),
            ExitCode.HELD,
            "tidy was stopped before its end: its process died, or did not report for too long.",
        ),
    ],
)
def test_error_says_what_happened_to_the_run(report, code, message):
    with pytest.raises(BotctlError, match=re.escape(message)) as caught:
        _raise_for_result("tidy", report)
    assert caught.value.exit_code is code

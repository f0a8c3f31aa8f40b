"""The table of `botctl jobs list`."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from botctl.cli.jobs.command import _details, _judge, _plain, _scheduler, _table
from botctl.core.contracts.jobs import JobRecord, MissedPolicy, RunResult
from botctl.core.contracts.lease import LeaseHolder
from botctl.core.errors import BotctlError, ExitCode
from botctl.jobs.admin import JobStatus, RunReport
from tests.support.jobs import make

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
RECORD = JobRecord(name="tidy", schedule="every 1m", missed=MissedPolicy.ONCE, next_due=NOW + timedelta(minutes=5))
RAN = replace(RECORD, last_run=NOW - timedelta(seconds=40), outcome=RunResult.OK, took_ms=12, runs=7)


async def tidy() -> None:
    """Put things in order."""


JOB = make(tidy)


def shown(*lines: JobStatus) -> list[str]:
    console = Console(file=io.StringIO(), width=120)
    console.print(_table(list(lines), NOW))
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()[1:]]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (None, "tidy every 1m when it is scheduled never 0"),
        (RECORD, "tidy every 1m in 5 min never 0"),
        (RAN, "tidy every 1m in 5 min 40 s ago ok 12 ms 7"),
        (replace(RAN, paused=True), "tidy every 1m paused 40 s ago ok 12 ms 7"),
        (replace(RAN, run="1", took_ms=None), "tidy every 1m in 5 min 40 s ago running 7"),
        (replace(RAN, run="1", took_ms=None, unresponsive=True), "tidy every 1m in 5 min 40 s ago stubborn 7"),
        (replace(RAN, next_due=NOW - timedelta(hours=3)), "tidy every 1m due for 3 h 40 s ago ok 12 ms 7"),
        (
            replace(RAN, outcome=RunResult.FAILED, error_id="abcd2345"),
            "tidy every 1m in 5 min 40 s ago failed [abcd2345] 12 ms 7",
        ),
    ],
)
def test_a_job_is_one_line(record, said):
    assert shown(JobStatus("tidy", JOB, record)) == [said]


def test_a_job_that_is_gone_from_the_code_is_told():
    removed = replace(RAN, removed=NOW, outcome=RunResult.FAILED, detail="it was silent")
    assert shown(JobStatus("tidy", None, removed)) == ["tidy every 1m removed 40 s ago failed 12 ms 7"]
    assert list(_details([JobStatus("tidy", None, removed)])) == []
    assert shown(JobStatus("tidy", None, RAN)) == ["tidy every 1m not in these files 40 s ago ok 12 ms 7"]


def test_as_json_every_field_is_there_whatever_is_known():
    known, unknown = _plain(JobStatus("tidy", JOB, RAN)), _plain(JobStatus("tidy", JOB, None))
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
def test_a_run_that_went_wrong_has_an_exit_code(result, code):
    with pytest.raises(BotctlError) as caught:
        _judge("tidy", RunReport("1", result, here=False, error_id="abcd2345"))
    assert caught.value.exit_code is code


def test_a_run_that_went_well_is_no_error():
    _judge("tidy", RunReport("1", RunResult.OK, here=True))


def test_what_is_known_of_a_run_beyond_a_word_stands_below():
    line = JobStatus("tidy", JOB, replace(RAN, detail="its process lost the lease: \x1b[31mwhy"))
    assert list(_details([line])) == ["tidy: its process lost the lease: \\x1b[31mwhy"]


@pytest.mark.parametrize(
    ("holder", "said"),
    [
        (None, "nobody schedules them now; `botctl run` does"),
        (LeaseHolder("vps:7", 3, 15), "scheduled by vps:7 (last sign 3 s ago)"),
        (
            LeaseHolder("vps:7", 9, 15),
            "scheduled by vps:7, which may be gone (last sign 9 s ago); another process takes over after 15 s",
        ),
        (
            LeaseHolder("vps:7", 99, 15),
            "nobody schedules them now; vps:7 did (last sign 99 s ago), and has gone without a word",
        ),
    ],
)
def test_who_schedules_is_named_as_far_as_it_is_known(holder, said):
    assert _scheduler(holder) == said


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (
            RunReport(
                "1", RunResult.TIMEOUT, here=True, stubborn=True, detail="it was cancelled after 5 s and goes on"
            ),
            ExitCode.FAILED,
            "tidy took too long: it was cancelled after 5 s and goes on.",
        ),
        (
            RunReport("1", RunResult.CANCELLED, here=False, detail="its process lost the lease: it was blocked"),
            ExitCode.HELD,
            "tidy was stopped half way: its process lost the lease: it was blocked.",
        ),
        (
            RunReport("1", RunResult.LOST, here=False),
            ExitCode.HELD,
            "tidy was stopped half way: its process died, or was silent for too long.",
        ),
    ],
)
def test_what_became_of_a_run_is_said(answer, code, said):
    with pytest.raises(BotctlError, match=re.escape(said)) as caught:
        _judge("tidy", answer)
    assert caught.value.exit_code is code

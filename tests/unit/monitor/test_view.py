"""From the snapshots of several processes to one view."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.contracts.health import RequestsSeen
from botctl.core.processes.runtime import Run
from botctl.core.telemetry.latency import Latencies, quantile_ms
from botctl.monitor.rows import Presence, ProcessReport
from botctl.monitor.snapshot import (
    Commands,
    CommandSnapshot,
    JobSnapshot,
    ServiceSnapshot,
    ShardSnapshot,
    Snapshot,
    as_json,
    from_json,
)
from botctl.monitor.view import MAX_LAST, MonitorView, combine_reports
from tests.support.snapshots import make_snapshot as snapshot

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def counts(*took_ms: float) -> tuple[int, ...]:
    found = Latencies()
    for ms in took_ms:
        found.add(ms)
    return tuple(found.counts)


def view_of(*snapshots: Snapshot, age_s: float = 0.5) -> MonitorView:
    return combine_reports("dice", [ProcessReport(snapshot.proc, snapshot, age_s) for snapshot in snapshots], AT)


def command(at: str, name: str = "roll") -> CommandSnapshot:
    return CommandSnapshot(name=name, user="ann", result="ok", ms=3.0, at=at)


def test_snapshot_is_read_back_from_json():
    full = snapshot(
        services=(ServiceSnapshot(name="redis", state="ready", ok=True, took_ms=0.4),),
        shards=(ShardSnapshot(id=0, state="ready", latency_ms=41.0),),
        requests=RequestsSeen(answers=3, row=1, row_kind="429", banned_until=AT),
        jobs=(JobSnapshot(name="trim", schedule="every 10m", outcome="ok"),),
        commands=Commands(total=3, per_second=(1, 2), latency_counts=counts(3), last=(command("x"),)),
    )
    assert from_json(as_json(full)) == full


def test_snapshot_of_other_version_is_none():
    """An additional field is ignored. Another version or invalid JSON is None."""
    text = as_json(snapshot())
    assert from_json(text.replace(b'{"v":1', b'{"new":[1],"v":1')) == snapshot()
    assert from_json(text.replace(b'{"v":1', b'{"v":2')) is None
    assert from_json(b"{}") is None
    assert from_json(b"\xff") is None


@given(st.lists(st.lists(st.floats(0, 60_000), max_size=20), min_size=1, max_size=4))
def test_quantiles_cover_commands_of_all_processes(parts):
    view = view_of(
        *(snapshot(pid, commands=Commands(latency_counts=counts(*part))) for pid, part in enumerate(parts, start=1))
    )
    expected = quantile_ms(counts(*(ms for part in parts for ms in part)), 0.99)
    assert view.totals.p99_ms == (None if expected is None else round(expected, 1))


def test_totals_add_up():
    """Seconds are matched from the newest one backwards, since the processes started at different times."""
    first = snapshot(1, connections=2, dropped=0, commands=Commands(total=5, failed=1, per_second=(1, 2, 30)))
    second = snapshot(2, connections=3, commands=Commands(total=7, throttled=2, denied=1, per_second=(4, 10)))
    totals = view_of(first, second).totals
    assert totals.per_second == (1, 6, 40)
    assert totals.rate_per_s == 4.7
    assert (totals.total, totals.failed, totals.throttled, totals.denied, totals.connections) == (12, 1, 2, 1, 5)


def test_invalid_requests_of_a_host_are_reported_before_the_ban():
    """Discord counts by address, so those of one host are added up."""
    calm = view_of(snapshot(1, invalid_requests=4_999), snapshot(2, host="beta", invalid_requests=4_000))
    assert (calm.totals.invalid_requests, calm.troubles) == (8_999, ())
    near = view_of(snapshot(1, invalid_requests=4_999), snapshot(2, invalid_requests=1))
    assert near.troubles == (
        "Discord refused 5,000 requests of alpha in ten minutes (401, 403, 429), and bans its address at 10,000",
    )
    assert [process.invalid_requests for process in near.processes] == [4_999, 1]


def test_rate_covers_last_ten_seconds():
    view = view_of(snapshot(commands=Commands(per_second=(100, *[1] * 10))))
    assert view.totals.rate_per_s == 1.0


def test_store_latency_is_the_slowest_ping():
    first = snapshot(1, services=(ServiceSnapshot(name="redis", state="ready", ok=True, took_ms=0.4),))
    second = snapshot(2, services=(ServiceSnapshot(name="redis", state="ready", ok=True, took_ms=90.0),))
    assert (view_of(first, second).totals.redis_ms, view_of(first).totals.mongo_ms) == (90.0, None)


def test_presence_depends_on_age_and_version():
    reports = [
        ProcessReport("a:1", snapshot(1), 0.9),
        ProcessReport("a:2", snapshot(2), 7.2),
        ProcessReport("a:3", snapshot(3, roles=("web",)), 12.0),
        ProcessReport("a:4", None, 0.2),
    ]
    view = combine_reports("dice", reports, AT)
    assert [process.presence for process in view.processes] == ["up", "silent", "incompatible", "gone"]
    assert view.runs
    assert view.troubles == (
        "a:2 (bot) has sent nothing for 7 s: it has ended, hangs, or does not reach Redis",
        "a:4 runs another version of botctl, so its numbers cannot be read",
        "a:3 (web) has sent nothing for 12 s: it has ended, hangs, or does not reach Redis",
    )


@pytest.mark.parametrize(
    ("alive", "age_s", "presence", "trouble"),
    [
        (
            True,
            7.2,
            "silent",
            "runs, but has sent nothing for 7 s: its event loop is blocked, it was stopped",
        ),
        (
            True,
            40.0,
            "silent",
            "runs, but has sent nothing for 40 s: its event loop is blocked, it was stopped",
        ),
        (False, 4.2, "gone", "ended unexpectedly; it was last heard from 4 s ago"),
        (None, 40.0, "gone", "has sent nothing for 40 s: it has ended, hangs, or does not reach Redis"),
    ],
)
def test_silence_says_only_what_is_known(alive: bool | None, age_s: float, presence: str, trouble: str):
    """A process that runs is never said to have ended, nor one on another host, which cannot be looked at."""
    report = ProcessReport("a:1", snapshot(1), age_s, alive)
    view = combine_reports("dice", [report], AT)
    assert view.processes[0].presence == presence
    (sentence,) = (found.why for found in view.diagnoses if found.proc)
    assert sentence.startswith(f"a:1 (bot) {trouble}")
    assert report.is_current(uptime_s=1) is (alive is True)


def test_run_of_this_host_without_a_snapshot_is_a_trouble():
    reports = [ProcessReport("a:1", snapshot(1), 0.5, alive=True)]
    view = combine_reports("dice", reports, AT, [Run(1, ("bot",)), Run(2, ("jobs",))])
    (trouble,) = view.troubles
    assert trouble.startswith("process 2 (jobs) runs on this host, but does not answer on its health socket")
    assert combine_reports("dice", reports, AT, [Run(None, ("bot",))]).troubles == ()


def test_gone_process_is_named_but_not_counted():
    dead = snapshot(
        2,
        roles=("jobs",),
        connections=7,
        services=(ServiceSnapshot(name="redis", state="degraded"),),
        shards=(ShardSnapshot(id=0, state="disconnected"),),
        commands=Commands(total=5),
        jobs=(JobSnapshot(name="trim", schedule="every 10m", outcome="failed"),),
    )
    view = combine_reports("dice", [ProcessReport("a:1", snapshot(1), 0.5), ProcessReport("a:2", dead, 30.0)], AT)
    assert (view.totals.connections, view.totals.total) == (0, 0)
    assert (view.services, view.shards, view.jobs, len(view.troubles)) == ((), (), (), 1)
    gone = view.processes[1]
    assert (gone.roles, gone.version, gone.uptime_s, gone.connections) == (("jobs",), "1", None, 0)


def test_only_newest_three_gone_processes_are_shown():
    crashed = [ProcessReport(f"a:{pid}", snapshot(pid, roles=("web",)), 60.0 - pid) for pid in range(1, 11)]
    view = combine_reports("dice", [*crashed, ProcessReport("a:99", snapshot(99), 0.5)], AT)
    assert [process.proc for process in view.processes] == ["a:99", "a:10", "a:9", "a:8"]
    assert (view.gone, len(view.troubles)) == (10, 4)
    assert view.troubles[-1] == "7 more ended or fell silent in the last minute"
    assert combine_reports("dice", crashed[:4], AT).troubles[-1] == "1 more ended or fell silent in the last minute"


def test_report_from_before_redis_started_is_not_current():
    silent, gone, up = (ProcessReport("a:1", snapshot(1), age_s) for age_s in (5.0, 30.0, 0.5))
    assert [report.is_current(4) for report in (silent, gone, up)] == [False, False, True]
    assert [report.is_current(0) for report in (silent, gone, up)] == [False, False, True]
    assert [report.is_current(40) for report in (silent, gone, up)] == [True, True, True]


def test_view_without_live_process_does_not_run():
    assert not combine_reports("dice", [ProcessReport("a:3", snapshot(3), 11.0)], AT).runs
    assert not combine_reports("dice", [], AT).runs
    assert ProcessReport("a:4", None, 0.2).presence is Presence.INCOMPATIBLE


def test_healthy_bot_has_no_troubles():
    """Services are ready, and answered or were not pinged yet. A job that was cancelled at a stop is no trouble."""
    view = view_of(
        snapshot(
            services=(
                ServiceSnapshot(name="redis", state="ready", ok=True),
                ServiceSnapshot(name="limits", state="ready"),
            ),
            shards=(ShardSnapshot(id=0, state="resumed"),),
            jobs=(
                JobSnapshot(name="a", schedule="x", outcome="ok"),
                JobSnapshot(name="b", schedule="x", outcome="cancelled"),
            ),
        )
    )
    assert view.troubles == ()
    assert all(service.well for service in view.services)


def test_job_is_taken_from_its_newest_record():
    """All processes read the same records, at different moments."""
    old = JobSnapshot(name="trim", schedule="x", outcome="failed", last_run="2026-01-01T00:00:00.000Z")
    new = JobSnapshot(name="trim", schedule="x", outcome="ok", last_run="2026-01-02T00:00:00.000Z")
    assert view_of(snapshot(1, jobs=(new,)), snapshot(2, jobs=(old,))).jobs == (new,)


def test_last_commands_are_merged_newest_first():
    one = snapshot(1, commands=Commands(last=tuple(command(f"2026-01-02T03:04:{s:02}.000Z") for s in range(0, 60, 2))))
    two = snapshot(2, commands=Commands(last=tuple(command(f"2026-01-02T03:04:{s:02}.000Z") for s in range(1, 60, 2))))
    last = view_of(one, two).last
    assert len(last) == MAX_LAST
    assert [command_.at[17:19] for command_ in last[:3]] == ["59", "58", "57"]


def test_shards_are_sorted_by_number():
    view = view_of(
        snapshot(1, shards=(ShardSnapshot(id=2, state="ready"),)),
        snapshot(2, shards=(ShardSnapshot(id=0, state="ready"),)),
    )
    assert [(shard.id, shard.proc) for shard in view.shards] == [(0, "alpha:2"), (2, "alpha:1")]

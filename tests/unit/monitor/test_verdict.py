"""What is found of a bot, from what its processes have reported."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.contracts.health import ALL_IS_WELL, Diagnosis, Health, RequestsSeen, worst
from botctl.core.processes.runtime import Run
from botctl.monitor.rows import GONE_S, SILENT_S, ProcessReport
from botctl.monitor.snapshot import Commands, JobSnapshot, ServiceSnapshot, ShardSnapshot, Snapshot
from botctl.monitor.verdict import ABSENT_S, diagnose, evidence, judge_report
from botctl.monitor.view import combine_reports
from tests.support.snapshots import make_snapshot

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EARLIER = "2026-01-02T03:03:00.000Z"
READY = ServiceSnapshot(name="bot", state="ready", ok=True)
HEARING = ShardSnapshot(id=0, state="ready", heard_ago_s=1.0)


def snapshot(pid: int = 1, **more: Any) -> Snapshot:
    """With a service and a shard."""
    return make_snapshot(pid, **{"services": (READY,), "shards": (HEARING,), **more})


def report(pid: int = 1, age_s: float = 0.5, alive: bool | None = True, **more: Any) -> ProcessReport:
    return ProcessReport(f"alpha:{pid}", snapshot(pid, **more), age_s, alive)


def found(*reports: ProcessReport, runs: tuple[Run, ...] = (), **roles: float) -> tuple[Diagnosis, ...]:
    return diagnose(evidence(reports, AT, runs, roles))


def verdict(*reports: ProcessReport, **roles: float) -> Health:
    return worst(found(*reports, **roles)).verdict


def test_failed_store_says_what_to_do():
    redis = ServiceSnapshot(name="redis", state="ready", ok=False, detail="takes no write: it is full")
    (finding,) = found(report(services=(redis,)))
    assert finding.action == "look at `botctl stores`"
    (finding,) = found(report(services=(replace(redis, hint="Free space."),)))
    assert (finding.why, finding.action) == ("redis of alpha:1: takes no write: it is full", "Free space")


def test_without_a_finding_all_is_well():
    assert found(report()) == ()
    assert found(report(commands=Commands(recent=7, late=3))) == (), "fewer than half"
    assert found(report(commands=Commands(recent=2, late=2))) == (), "too few to say"
    assert worst(()) is ALL_IS_WELL
    assert ALL_IS_WELL.verdict.works


@pytest.mark.parametrize(
    ("expected", "more"),
    [
        (Health.STARTING, {"services": (replace(READY, state="starting", ok=None),)}),
        (Health.DEGRADED, {"services": (replace(READY, name="mongo", ok=False, detail="no answer in 2 s"),)}),
        (Health.DEGRADED, {"services": (replace(READY, state="failed", detail="it ended"),)}),
        (Health.LIMITED, {"requests": RequestsSeen(answers=3, limited=3, row=3, row_kind="429")}),
        (Health.BANNED, {"requests": RequestsSeen(answers=1, banned_until=AT + timedelta(hours=1))}),
        (Health.DEGRADED, {"requests": RequestsSeen(answers=3, failed=3, row=3, row_kind="5xx")}),
        (Health.DEGRADED, {"commands": Commands(recent=6, late=3)}),
        (Health.DEGRADED, {"requests": RequestsSeen(answers=3, unreachable=3, row=3, row_kind="unreachable")}),
        (Health.DEGRADED, {"requests": RequestsSeen(answers=6, failed=3, row=1, row_kind="5xx")}),
        (Health.DEAF, {"shards": (replace(HEARING, misses=2),)}),
        (Health.DEAF, {"shards": (ShardSnapshot(id=0, state="disconnected", since=EARLIER, last_close="4000, ?"),)}),
        (Health.DEAF, {"shards": (replace(HEARING, state="resuming", since=EARLIER, misses=2, reconnects=1),)}),
        (Health.DEGRADED, {"shards": (replace(HEARING, guilds=2_251),)}),
        (Health.DRAINING, {"draining": True}),
        (
            Health.WAITING,
            {
                "services": (
                    ServiceSnapshot(name="logins", state="degraded", detail="waiting for logins until 12:00: few"),
                    ServiceSnapshot(name="bot", state="starting"),
                )
            },
        ),
        (Health.DEGRADED, {"jobs": (JobSnapshot(name="trim", schedule="x", outcome="failed", last_run="T"),)}),
        (Health.DEGRADED, {"jobs": (JobSnapshot(name="hangs", schedule="x", stubborn=True, last_run="T"),)}),
        (Health.DEGRADED, {"lag_ms": 3_100.0}),
        (Health.DEGRADED, {"dropped": 900, "dropped_lately": 12}),
        (Health.DEGRADED, {"invalid_requests": 5_000}),
    ],
)
def test_each_failure_has_its_verdict(expected: Health, more: dict[str, Any]):
    (finding,) = found(report(**more))
    assert finding.verdict is expected
    assert len(finding.why) > 20
    assert finding.verdict in {Health.STARTING, Health.DRAINING} or finding.action, "it says what to do"


@pytest.mark.parametrize(
    "more",
    [
        {"requests": RequestsSeen(answers=40, limited=2, row=2, row_kind="429")},  # a busy channel
        {"requests": RequestsSeen(answers=40, failed=4)},
        {"requests": RequestsSeen(answers=24, failed=22)},  # it answers again
        {"requests": RequestsSeen(answers=4, failed=2)},
        {"requests": RequestsSeen(banned_until=AT - timedelta(seconds=1))},  # it has ended
        {"shards": (replace(HEARING, misses=1),)},
        {"shards": (replace(HEARING, can_ask=False, heard_ago_s=90_000.0),)},  # in no guild, for a day
        {"shards": (replace(HEARING, heard_ago_s=90_000.0),)},  # quiet, and every question was answered
        {"shards": (ShardSnapshot(id=0, state="resuming", since="2026-01-02T03:04:03.000Z", last_close="4000, ?"),)},
        {"dropped": 900},
        {"lag_ms": 1_400.0},
        {"jobs": (JobSnapshot(name="trim", schedule="x", outcome="cancelled"),)},
    ],
)
def test_what_is_normal_is_no_finding(more: dict[str, Any]):
    assert found(report(**more)) == ()


def test_restart_helps_a_deaf_shard_only_after_its_own_reconnections():
    (deaf,) = found(report(shards=(replace(HEARING, misses=2),)))
    (begun,) = found(report(shards=(replace(HEARING, misses=3, reconnects=2),)))  # the second one is under way
    (lasting,) = found(report(shards=(replace(HEARING, misses=4, reconnects=2),)))
    assert [each.restart_helps for each in (deaf, begun, lasting)] == [False, False, True]


def test_restart_helps_neither_a_ban_nor_a_limit_nor_a_store():
    states = [
        {"requests": RequestsSeen(banned_until=AT + timedelta(hours=1))},
        {"requests": RequestsSeen(row=9, row_kind="429", limited=9, answers=9)},
        {"services": (replace(READY, name="redis", ok=False),)},
    ]
    assert [finding.restart_helps for more in states for finding in found(report(**more))] == [False] * len(states)


def test_bot_is_degraded_while_some_shards_hear():
    shards = (replace(HEARING, misses=2), replace(HEARING, id=1))
    view = combine_reports("dice", [report(shards=shards)], AT)
    assert (view.health.verdict, view.health.shard) == (Health.DEGRADED, 0)
    assert [shard.verdict for shard in view.shards] == [Health.DEAF, Health.HEALTHY]
    assert verdict(report(shards=(shards[0], replace(shards[0], id=1)))) is Health.DEAF


def test_process_that_runs_without_a_word_is_blocked():
    silent = report(age_s=SILENT_S + 1)
    (finding,) = found(silent)
    assert (finding.verdict, finding.restart_helps) == (Health.BLOCKED, True)
    assert found(report(age_s=SILENT_S - 1)) == ()


def test_killed_process_is_known_at_once():
    """Its process id tells, not the age of its snapshot."""
    view = combine_reports("dice", [report(1, 0.1, alive=False, roles=("web",)), report(2)], AT)
    assert view.health.verdict is Health.DEGRADED
    assert "alpha:1 (web) ended unexpectedly" in view.health.why
    assert found(report(1, 0.1, alive=False), report(2)) == (), "another process has its role"
    assert [process.verdict for process in view.processes] == [Health.HEALTHY, Health.DEGRADED]


def test_process_of_another_host_is_not_called_blocked():
    assert verdict(report(1, SILENT_S + 1, alive=None)) is Health.DEGRADED


def test_role_that_no_process_has_is_absent():
    assert verdict(report(), bot=0.2, jobs=ABSENT_S - 1) is Health.HEALTHY
    (finding,) = found(report(), bot=0.2, jobs=ABSENT_S + 1)
    assert (finding.verdict, "the role jobs for 15 s" in finding.why) == (Health.ABSENT, True)
    assert found(report(), runs=(Run(2, ("jobs",)),), jobs=60.0)[0].verdict is Health.BLOCKED


def test_silent_run_is_not_taken_for_a_process_of_another_host_with_the_same_pid():
    """In containers all of them are process 1."""
    elsewhere = report(alive=None, roles=("jobs",))
    blocked = [finding.verdict for finding in found(elsewhere, runs=(Run(1, ("bot",)),))]
    assert blocked == [Health.BLOCKED]
    assert found(report(alive=True), runs=(Run(1, ("bot",)),)) == ()


def test_silent_socket_without_a_pid_is_of_a_process_whose_roles_no_report_has():
    assert [each.verdict for each in found(report(roles=("jobs",)), runs=(Run(None, ("bot",)),))] == [Health.BLOCKED]
    assert found(report(roles=("bot", "jobs")), runs=(Run(None, ("bot",)),)) == ()


def test_bot_without_a_process_is_absent():
    (finding,) = found(bot=60.0, jobs=60.0)
    assert finding.why == "no process of the bot runs"
    assert verdict(report(alive=None, age_s=GONE_S + 1)) is Health.ABSENT


def test_process_judges_itself_without_the_others():
    """It is not told of absent roles, nor of the jobs that another process runs."""
    assert judge_report(report(lag_ms=4_000.0), AT)[0].proc == "alpha:1"
    assert judge_report(report(), AT) == ()


def test_lost_connection_is_deaf_after_a_while():
    lost = ShardSnapshot(id=0, state="disconnected", since="2026-01-02T03:03:50.000Z", last_close="4000, an error")
    (finding,) = found(report(shards=(lost,)))
    assert finding.action.startswith("it tries again by itself, with growing pauses; ")
    (pauses,) = found(report(shards=(replace(lost, retry_at="2026-01-02T03:04:41.000Z"),)))
    assert pauses.action.startswith("it tries again at 2026-01-02 03:04:41 UTC; ")
    assert pauses.action.endswith("check the network; look at discordstatus.com")
    (known,) = found(report(shards=(lost,), discord_says="Partial System Outage"))
    assert known.action.endswith('check the network; Discord\'s status page says "Partial System Outage"')
    assert finding.verdict is Health.DEAF
    assert finding.why == (
        "shard 0 of alpha:1 has no connection since 2026-01-02 03:03:50 UTC (disconnected): 4000, an error"
    )


_SNAPSHOTS = st.builds(
    snapshot,
    pid=st.integers(1, 9),
    draining=st.booleans(),
    lag_ms=st.floats(0, 9_000),
    services=st.lists(
        st.builds(
            ServiceSnapshot,
            name=st.sampled_from(["redis", "mongo", "bot", "logins"]),
            state=st.sampled_from(["idle", "starting", "ready", "degraded", "failed", "stopping"]),
            ok=st.sampled_from([True, False, None]),
        ),
        max_size=3,
    ).map(tuple),
    shards=st.lists(
        st.builds(ShardSnapshot, id=st.integers(0, 3), state=st.just("ready"), misses=st.integers(0, 4))
    ).map(tuple),
    requests=st.builds(RequestsSeen, answers=st.integers(0, 9), row=st.integers(0, 9), row_kind=st.just("429")),
)


@given(snapshots=st.lists(_SNAPSHOTS, max_size=4), age_s=st.floats(0, 30), alive=st.sampled_from([True, False, None]))
def test_verdict_is_that_of_the_worst_finding(snapshots: list[Snapshot], age_s: float, alive: bool | None):
    """The worst comes first, no process is worse than the bot, and each finding has its sentence."""
    view = combine_reports("dice", [ProcessReport(each.proc, each, age_s, alive) for each in snapshots], AT)
    severities = [finding.verdict.severity for finding in view.diagnoses]
    assert severities == sorted(severities, reverse=True)
    assert view.health.verdict.severity == max(severities, default=0)
    assert all(process.verdict.severity <= view.health.verdict.severity for process in view.processes)
    assert view.troubles == tuple(finding.why for finding in view.diagnoses)

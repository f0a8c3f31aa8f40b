"""`botctl gateway status` shows the shards of processes that are heard."""

from __future__ import annotations

from botctl.monitor.rows import GONE_S, SILENT_S, ProcessReport
from botctl.monitor.snapshot import ShardSnapshot
from botctl.run.oneshot.gateway import known_shards
from tests.support.snapshots import make_snapshot


def report(pid: int, age_s: float, alive: bool | None, *shards: int) -> ProcessReport:
    snapshot = make_snapshot(pid, shards=tuple(ShardSnapshot(id=number, state="ready") for number in shards))
    return ProcessReport(f"alpha:{pid}", snapshot, age_s, alive)


def test_shards_come_in_order_from_all_processes() -> None:
    heard = [report(1, 0.5, True, 2, 0), report(2, 0.5, None, 1), ProcessReport("alpha:3", None, 0.5)]
    assert [shard.id for shard in known_shards(heard)] == [0, 1, 2]


def test_shard_of_a_killed_stopped_or_lost_process_is_not_said_to_be_ready() -> None:
    lost = [report(1, 0.5, False, 0), report(2, SILENT_S + 1, True, 1), report(3, GONE_S + 1, None, 2)]
    assert known_shards(lost) == ()

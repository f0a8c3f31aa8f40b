"""The jobs in a snapshot."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from botctl.core.clock import SystemClock
from botctl.core.contracts.jobs import RunResult
from botctl.monitor.writer import SnapshotWriter
from tests.support.jobs import FakeLease, Rig, make_job


async def fails() -> None:
    raise ValueError


async def test_removed_job_is_left_out_of_snapshots():
    """Its last run failed, and there will be no better one."""
    rig = Rig(clock=SystemClock())
    job = make_job(fails, "every 1w")
    await rig.store.get(job, rig.clock.now() - timedelta(days=8))
    await rig.runner.run_due(job, FakeLease())
    unused: Any = None
    writer = SnapshotWriter(unused, unused, unused, unused, (), rig.store)
    await writer._read_jobs()
    assert [(job_snapshot.name, job_snapshot.outcome) for job_snapshot in writer._jobs] == [("tidy", "failed")]
    await rig.runner.mark_removed(await rig.record(job), FakeLease())
    await writer._read_jobs()
    assert writer._jobs == ()
    assert (await rig.record(job)).outcome is RunResult.FAILED, "its record is kept"

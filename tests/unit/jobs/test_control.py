"""Jobs from elsewhere: only what is scheduled, and each change recorded with its actor and reason."""

from __future__ import annotations

import pytest

from botctl.core.contracts.audit_entry import Principal
from botctl.core.contracts.lease import LeaseHolder
from botctl.core.errors import Held, IntegrityError, NotFound
from botctl.jobs.control import StoredJobControl
from tests.support.jobs import FakeLease, Rig, make_due, make_job
from tests.support.realtime import KnownHolder

ANN = Principal("user", "1", "ann")
SCHEDULED = KnownHolder(LeaseHolder("host:1", 1.0, 15.0))


async def nothing() -> None:
    pass


JOB = make_job(nothing)


def control(rig: Rig, leases: KnownHolder = SCHEDULED) -> StoredJobControl:
    return StoredJobControl(rig.store, leases, rig.auditor, rig.clock)  # type: ignore[arg-type]


async def test_requested_run_is_run_by_the_scheduler() -> None:
    rig = Rig()
    await make_due(rig.store, JOB, rig.clock)
    run_id = await control(rig).request_run("tidy", actor=ANN, reason="now")
    assert await control(rig).request_run("tidy", actor=ANN, reason="again") == run_id  # it is still open
    await rig.runner.run_due(JOB, FakeLease())
    assert run_id in rig.started
    requests = [entry for entry in rig.auditor.entries if entry.action == "job.request"]
    assert [(entry.op, entry.actor, entry.reason) for entry in requests] == [
        (run_id, ANN, "now"),
        (run_id, ANN, "again"),
    ]


@pytest.mark.parametrize("holder", [None, LeaseHolder("host:1", 16.0, 15.0)], ids=["none", "expired"])
async def test_nothing_is_requested_while_no_process_schedules(holder: LeaseHolder | None) -> None:
    rig = Rig()
    await make_due(rig.store, JOB, rig.clock)
    with pytest.raises(Held, match="no process schedules"):
        await control(rig, KnownHolder(holder)).request_run("tidy", actor=ANN, reason="now")
    assert (await rig.record(JOB)).requested is None
    assert rig.auditor.entries == []


async def test_removed_and_unknown_jobs_are_not_found() -> None:
    rig = Rig()
    with pytest.raises(NotFound, match="none was ever scheduled"):
        await control(rig).set_paused("tidy", paused=True, actor=ANN, reason="noisy")
    record = await make_due(rig.store, JOB, rig.clock)
    assert await rig.store.mark_removed(record, 1, rig.clock.now())
    with pytest.raises(NotFound):
        await control(rig).request_run("tidy", actor=ANN, reason="now")


async def test_malformed_job_is_named() -> None:
    rig = Rig()
    await make_due(rig.store, JOB, rig.clock)
    await rig.store.collection.update_one({"_id": "tidy"}, {"$set": {"schedule": "whenever"}})
    with pytest.raises(IntegrityError, match="tidy"):
        await control(rig).set_paused("tidy", paused=True, actor=ANN, reason="noisy")
    await rig.store.collection.update_one({"_id": "tidy"}, {"$set": {"missed": 7}})
    with pytest.raises(IntegrityError, match="tidy"):
        await control(rig).request_run("tidy", actor=ANN, reason="now")

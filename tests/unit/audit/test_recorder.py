"""Events of a process and its services in the audit log."""

import os

import pytest

from botctl.audit.recorder import audit_recorder
from botctl.core.contracts.audit_entry import AuditOutcome
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.events import RunEnding, RunStarted, ServiceChanged
from tests.support.clock import ManualClock


class Entries(list):
    record = list.append


@pytest.fixture
async def bus_and_entries():
    """A bus, and the entries for its events."""
    bus, entries = Bus(), Entries()
    async with audit_recorder(bus, entries, ManualClock()):
        yield bus, entries


@pytest.mark.parametrize(
    ("old", "new", "action"),
    [
        ("ready", "degraded", "service.degraded"),
        ("degraded", "ready", "service.ready"),
        ("restarting", "ready", "service.ready"),
        ("starting", "degraded", "service.degraded"),
        ("starting", "failed", "service.failed"),
        ("ready", "failed", "service.failed"),
        ("stopping", "failed", "service.failed"),
        ("starting", "ready", None),
        ("degraded", "degraded", None),
        ("ready", "restarting", None),
        ("ready", "stopping", None),
        ("stopping", "stopped", None),
    ],
)
async def test_only_health_changes_of_services_are_recorded(bus_and_entries, old, new, action):
    bus, entries = bus_and_entries
    bus.publish(ServiceChanged(service="mongo", old=old, new=new, detail="it fails"))
    assert [entry.action for entry in entries] == ([action] if action else [])
    for entry in entries:
        assert (entry.target.type, entry.target.id, entry.reason) == ("service", "mongo", "it fails")
        assert (entry.outcome is AuditOutcome.SUCCESS) == (new == "ready")


async def test_start_and_stop_have_version_and_exit_code(bus_and_entries):
    bus, entries = bus_and_entries
    bus.publish(RunStarted(roles=("bot", "jobs"), version="1.2.3"))
    bus.publish(RunEnding(exit_code=143))
    start, stop = entries
    assert (start.action, stop.action) == ("run.start", "run.stop")
    assert {change.k: change.new for change in start.changes} == {"roles": ("bot", "jobs"), "version": "1.2.3"}
    assert {change.k: change.new for change in stop.changes} == {"exit_code": 143}
    assert {entry.actor.id for entry in entries} == {f"uid:{os.getuid()}"}
    assert start.target == stop.target
    assert start.target.id.endswith(f":{os.getpid()}")

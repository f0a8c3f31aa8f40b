"""Record events of a process and its services in the audit log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from botctl.core.clock import Clock
from botctl.core.contracts.audit_entry import AuditOutcome, Change, Principal, Target, current_operator, make_entry
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.events import RunEnding, RunStarted, ServiceChanged, Source
from botctl.core.contracts.protocols import Auditor
from botctl.core.contracts.service_state import ServiceState

_OUTCOMES: Final = {
    ServiceState.DEGRADED: AuditOutcome.ERROR,
    ServiceState.FAILED: AuditOutcome.ERROR,
    ServiceState.READY: AuditOutcome.SUCCESS,
}
_UNHEALTHY: Final = (ServiceState.DEGRADED, ServiceState.RESTARTING)


@dataclass(frozen=True, slots=True)
class Recorder:
    """Records the events of ``proc`` (``host:pid``)."""

    auditor: Auditor
    clock: Clock
    proc: str

    def service_changed(self, event: ServiceChanged) -> None:
        """Record ``service.failed``, ``service.degraded`` and ``service.ready``, except for a regular start or stop."""
        outcome = _OUTCOMES.get(ServiceState(event.new))
        if (
            outcome is None
            or event.old == event.new
            or (event.new == ServiceState.READY and event.old not in _UNHEALTHY)
        ):
            return
        self.auditor.record(
            make_entry(
                f"service.{event.new}",
                Principal("system", self.proc),
                at=self.clock.now(),
                iface="system",
                target=Target("service", event.service),
                outcome=outcome,
                reason=event.detail or None,
            )
        )

    def run_started(self, event: RunStarted) -> None:
        """Record ``run.start``: all services are ready. The actor is the operating system's user of the process."""
        self._record_run("run.start", Change("roles", None, event.roles), Change("version", None, event.version))

    def run_ending(self, event: RunEnding) -> None:
        """Record ``run.stop`` with the exit code. A process without this entry was killed."""
        self._record_run("run.stop", Change("exit_code", None, event.exit_code))

    def _record_run(self, action: str, *changes: Change) -> None:
        target = Target("process", self.proc)
        self.auditor.record(
            make_entry(action, current_operator(), at=self.clock.now(), iface="cli", target=target, changes=changes)
        )


@asynccontextmanager
async def audit_recorder(bus: Bus, auditor: Auditor, clock: Clock) -> AsyncIterator[Recorder]:
    recorder = Recorder(auditor, clock, Source("").proc)
    with (
        bus.listen(recorder.service_changed, ServiceChanged),
        bus.listen(recorder.run_started, RunStarted),
        bus.listen(recorder.run_ending, RunEnding),
    ):
        yield recorder

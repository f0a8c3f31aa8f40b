"""What is said while another process has the lease of the migrations."""

from __future__ import annotations

from botctl.core.contracts.lease import LeaseWait
from botctl.migrate.runner import _describe_wait


def test_holder_that_has_ended_does_not_run_migrations() -> None:
    ended = _describe_wait(LeaseWait("process 7 on vps", 12.2, has_ended=True), 17)
    assert ended == "process 7 on vps ran migrations and has ended: waiting for 17 s at most. Its lease ends in 12 s."
    running = _describe_wait(LeaseWait("process 7 on vps", 12.2, has_ended=False), None)
    assert running == "process 7 on vps runs migrations: waiting. If it has died, this is known in 12 s."

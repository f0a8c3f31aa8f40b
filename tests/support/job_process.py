"""A process that only schedules jobs: `python -m tests.support.job_process MONGO_URL DATABASE LEDGER`.

It has the parts of `botctl run --only jobs` that a test needs to kill many such processes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from functools import partial
from pathlib import Path

from pymongo.asynchronous.database import AsyncDatabase

from botctl.core.clock import Clock, SystemClock
from botctl.core.config.settings import JobSettings, Settings, ShutdownSettings
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.jobs import Job, JobRun, Jobs, MissedPolicy
from botctl.core.contracts.protocols import Auditor
from botctl.core.contracts.schedule import parse
from botctl.core.services.registry import Registry
from botctl.jobs.scheduler import Scheduler, job_scheduler
from botctl.stores.leases import leases
from botctl.stores.mongo import Database, connect
from tests.support.waiting import LIMIT_S

LEASE_S = 1.0
NAMES = {"quick": 0.0, "skips": 0.0, "slow": 0.3}
"""The jobs, each due every second, and how long a run takes in seconds."""


class NullAuditor:
    """An auditor that drops all entries."""

    def record(self, entry: object) -> None:
        pass


def note(ledger: Path, phase: str, run: JobRun) -> None:
    """Append a line to the ledger, in one write."""
    line = f"{phase} {run.job} {run.due.timestamp():.0f} {run.id} {run.fence} {os.getpid()}\n"
    descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def jobs(ledger: Path) -> Jobs:
    """Jobs that append a line to the ledger when they start and when they end."""

    async def function(run: JobRun) -> None:
        note(ledger, "begin", run)
        await asyncio.sleep(NAMES[run.job])
        note(ledger, "end", run)

    missed = {"skips": MissedPolicy.SKIP}
    return Jobs(Job(name, function, parse("every 1s"), missed.get(name, MissedPolicy.ONCE)) for name in NAMES)


async def main(url: str, name: str, ledger: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with connect(url, timeout_s=LIMIT_S) as client:
        registry = Registry()
        settings = Settings(jobs=JobSettings(lease_s=LEASE_S), shutdown=ShutdownSettings(drain_s=2))
        registry.value(Settings, settings)
        registry.value(Bus, Bus())
        registry.value(Clock, SystemClock())
        registry.value(Auditor, NullAuditor())
        registry.value(Database, AsyncDatabase(client, name))
        registry.value(Jobs, jobs(Path(ledger)))
        registry.add(leases)
        registry.add(partial(job_scheduler, complete=True), stop_s=10)
        async with registry.open(Scheduler) as running:
            await stop.wait()
            await running.get(Scheduler).drain(2)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""Services of `botctl jobs`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from botctl.core.config.loading import Loaded
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.jobs import Job, Jobs
from botctl.core.errors import ConfigError, MigrationFaults, NotFound
from botctl.core.services.registry import Registry
from botctl.jobs.admin import JobAdmin, job_admin
from botctl.jobs.builtin import BUILTIN_JOBS
from botctl.run.roles import add_custom_services, add_migration_gate, build_shared_registry, load_commands

_log = logging.getLogger(__name__)


@asynccontextmanager
async def open_job_admin(loaded: Loaded, *, run: str | None = None) -> AsyncIterator[JobAdmin]:
    """The job administration. It can run the job named ``run`` in this process, unless a migration is pending.

    A command file that cannot be loaded is logged and left out. Raises NotFound if no job has that name, or
    ConfigError if a file that may define it was left out.
    """
    registry = build_shared_registry(loaded, bus=Bus())
    jobs, is_complete = _load_jobs(registry, loaded)
    registry.value(Jobs, jobs)
    dependencies: tuple[Any, ...] = ()
    blocked_by: ConfigError | None = None
    if run is not None:
        needs = _find_job(jobs, run, is_complete=is_complete).dependencies
        try:
            dependencies = (*needs, add_migration_gate(registry, loaded, apply=False))
        except MigrationFaults as error:
            blocked_by = error
    registry.add(partial(job_admin, blocked_by=blocked_by), name="admin", depends_on=dependencies)
    async with registry.open(JobAdmin) as running:
        yield running.get(JobAdmin)


def _load_jobs(registry: Registry, loaded: Loaded) -> tuple[Jobs, bool]:
    """The jobs of the files that can be loaded, and whether that is all files. Faults are logged."""
    try:
        add_custom_services(registry, loaded)
        catalog = load_commands(registry, loaded, skip_broken=True)
    except ConfigError as error:
        _log.warning("left out: %s", error)
        return BUILTIN_JOBS, False
    return Jobs((*BUILTIN_JOBS, *catalog.jobs)), not catalog.has_skipped_files


def _find_job(jobs: Jobs, name: str, *, is_complete: bool) -> Job:
    try:
        return jobs.named(name)
    except NotFound as error:
        if is_complete:
            raise
        sentence = f"there is no job {name[:40]!r} in the files that can be loaded."
        raise ConfigError(
            sentence, hint="Correct the files that were left out; `botctl run` lists all their faults."
        ) from error

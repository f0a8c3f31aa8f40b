"""What `botctl jobs` works with."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from botctl.core.config.loading import Loaded
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.jobs import Job, Jobs
from botctl.core.errors import ConfigError, MigrationFaults, UsageError
from botctl.core.services.registry import Registry
from botctl.jobs.admin import JobAdmin, job_admin
from botctl.jobs.builtin import SHIPPED
from botctl.run.roles import add_migrated, add_operators_own, load_commands, shared_registry

_log = logging.getLogger(__name__)


@asynccontextmanager
async def jobs_admin(loaded: Loaded, *, run: str | None = None) -> AsyncIterator[JobAdmin]:
    """What looks after the jobs from a terminal; able to run the job ``run`` itself, if no migration is pending.

    Files that cannot be loaded are told in the log, and left out.

    Raises:
        UsageError: there is no job of that name.
        ConfigError: there is none in the files that can be loaded.
    """
    registry = shared_registry(loaded, bus=Bus())
    jobs, complete = _jobs_that_load(registry, loaded)
    registry.value(Jobs, jobs)
    also: tuple[Any, ...] = ()
    hindrance: ConfigError | None = None
    if run is not None:
        needs = _job_to_run(jobs, run, complete=complete).dependencies
        try:
            also = (*needs, add_migrated(registry, loaded, apply=False))
        except MigrationFaults as error:
            hindrance = error
    registry.add(partial(job_admin, hindrance=hindrance), name="desk", depends_on=also)
    async with registry.open(JobAdmin) as running:
        yield running.get(JobAdmin)


def _jobs_that_load(registry: Registry, loaded: Loaded) -> tuple[Jobs, bool]:
    """The jobs of all files that can be loaded, and whether those are all files. What is wrong is told in the log."""
    try:
        add_operators_own(registry, loaded)
        catalog = load_commands(registry, loaded, skip_broken=True)
    except ConfigError as error:
        _log.warning("left out: %s", error)
        return SHIPPED, False
    return Jobs((*SHIPPED, *catalog.jobs)), not catalog.left_out


def _job_to_run(jobs: Jobs, name: str, *, complete: bool) -> Job:
    try:
        return jobs.named(name)
    except UsageError as error:
        if complete:
            raise
        sentence = f"there is no job {name[:40]!r} in the files that can be loaded."
        raise ConfigError(sentence, hint="Correct those that were left out; `botctl run` names them all.") from error

"""Jobs: functions that run on a schedule or on request, in one process at a time.

A job is declared in code. A `JobStore` keeps the record of its runs::

    @job("every 10m", missed="skip")
    async def tidy(database: Database) -> None:
        \"\"\"Delete old polls.\"\"\"
"""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, Protocol, TypeVar

from botctl.core.clock import iso_ms
from botctl.core.contracts.audit_entry import Principal
from botctl.core.contracts.schedule import Schedule, parse
from botctl.core.errors import NotFound
from botctl.core.signatures import Key, parameters_of

LEASE: Final = "jobs"
"""The name of the lease (`botctl.core.contracts.lease`) that the process that schedules jobs holds."""
TIMEOUT_S: Final = 300.0
_TIMES: Final = ("next_due", "last_due", "last_run", "last_end")  # of a record
_JOB_ATTRIBUTE: Final = "__botctl_job__"
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,39}", re.ASCII)

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])


class MissedPolicy(enum.StrEnum):
    """What happens when due times passed while no process could run the job.

    ``ONCE``: run once for all of them, as soon as possible. ``SKIP``: wait for the next due time.
    """

    ONCE = "once"
    SKIP = "skip"


class RunResult(enum.StrEnum):
    """The result of a run.

    ``TIMEOUT``: it was cancelled at its time limit. ``CANCELLED``: its process stopped, or lost the lease. ``LOST``:
    its process died, or did not renew the lease. It is unknown how far such a run came, and it is not repeated.
    """

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run of a job. A job function with a ``JobRun`` parameter gets the current run.

    ``due``: its due time, or the time of the request. ``requested``: an operator requested it. ``fence`` is the
    fencing token: greater than that of every process that ran jobs before, so that a store can reject a smaller one.
    """

    id: str
    job: str
    due: datetime
    fence: int
    requested: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """A declared job. ``timeout_s``: the time limit of a run."""

    name: str
    function: Callable[..., Awaitable[Any]]
    schedule: Schedule
    missed: MissedPolicy = MissedPolicy.ONCE
    timeout_s: float = TIMEOUT_S

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def dependencies(self) -> tuple[Key, ...]:
        """The service types that the function has as parameters."""
        return tuple(p.key for p in parameters_of(self.function) if not p.optional and p.key is not JobRun)


def job(
    when: str, *, name: str | None = None, missed: Literal["once", "skip"] = "once", timeout_s: float = TIMEOUT_S
) -> Callable[[F], F]:
    """Run an ``async def`` of a file in ``commands/`` at the due times of ``when``, in one process of the bot.

    ``when``: ``every 10s``, or the five fields of cron, in UTC. Its parameters are services by annotation, or a
    `JobRun`.
    ``name``: by default the function's name with dashes. ``missed``: a `MissedPolicy`. A run is cancelled after
    ``timeout_s``.

    Raises:
        ValueError: the schedule, name, policy or time limit is not valid.
        TypeError: not an ``async def``.
    """

    def decorate(function: F) -> F:
        job_name = function.__name__.strip("_").replace("_", "-").lower() if name is None else name
        is_async = inspect.iscoroutinefunction(function)
        if not is_async:  # a variable, because mypy narrows the type of a call's argument
            raise TypeError(f"the job {job_name} is not an `async def`")
        if not _NAME.fullmatch(job_name):
            raise ValueError(f"the job name {job_name!r} is not 1 to 40 of a-z, 0-9 and -, a letter first")
        if missed not in tuple(MissedPolicy):
            raise ValueError(f"the job {job_name} has missed={missed!r}; write 'once' or 'skip'")
        if not 0 < timeout_s <= 86_400:  # noqa: PLR2004  a day
            raise ValueError(f"the job {job_name} has timeout_s={timeout_s!r}; it is more than 0, at most a day")
        setattr(function, _JOB_ATTRIBUTE, Job(job_name, function, parse(when), MissedPolicy(missed), timeout_s))
        return function

    return decorate


def get_declared_job(function: object) -> Job | None:
    """The job that `job` made of ``function``; None if it did not."""
    declared = getattr(function, _JOB_ATTRIBUTE, None)
    return declared if isinstance(declared, Job) else None


class SchedulableJob(Protocol):
    """What a `JobRecord` needs of a job: `Job` and `StoredJob` have it."""

    @property
    def name(self) -> str: ...
    @property
    def schedule(self) -> Schedule: ...
    @property
    def missed(self) -> MissedPolicy: ...


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job as its record describes it, even if its code cannot be loaded."""

    name: str
    schedule: Schedule
    missed: MissedPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """The stored state of a job. ``last_*``, ``outcome``, ``took_ms`` and ``detail`` describe the newest run."""

    name: str
    schedule: str
    missed: MissedPolicy
    next_due: datetime
    revision: int = 0  # number of changes
    fence: int = 0  # of the last lease holder that wrote
    paused: bool = False
    run: str | None = None  # id of the run in progress
    last_id: str | None = None
    last_due: datetime | None = None
    last_run: datetime | None = None  # when it started
    last_end: datetime | None = None
    outcome: RunResult | None = None  # None until it ends
    error_id: str | None = None
    took_ms: int | None = None
    runs: int = 0  # number of runs
    skipped: int = 0  # due times that had no run
    lost: int = 0  # runs whose end was not seen
    requested: str | None = None  # id of the run that an operator requested
    answered: str | None = None  # id of the last requested run that has ended
    answer: RunResult | None = None  # its result
    unresponsive: bool = False  # the run in progress ignores its cancellation; stored as ``stubborn``
    detail: str | None = None  # a sentence for people that says more than the outcome
    removed: datetime | None = None  # when the process that schedules first saw that the code has no such job

    @property
    def stored_job(self) -> StoredJob:
        return StoredJob(self.name, parse(self.schedule), self.missed)


def record_fields(record: JobRecord | None) -> dict[str, Any]:
    """The fields of ``record`` that people read, as JSON types: times are ISO 8601 in UTC, unknown values are None."""
    others = ("outcome", "detail", "error_id", "took_ms", "run", "runs", "skipped", "lost", "fence")
    return {
        "removed": record and record.removed and iso_ms(record.removed),
        "paused": record is not None and record.paused,
        "stubborn": record is not None and record.unresponsive,
        **{name: (at := getattr(record, name, None)) and iso_ms(at) for name in _TIMES},
        **{name: getattr(record, name, None) for name in others},
    }


class JobStore(Protocol):
    """Read access to the records of the bot's jobs."""

    async def all(self) -> Sequence[JobRecord]:
        """The records of all jobs ever scheduled or paused, by name. Raises Unreachable if it gets no answer."""
        ...


class JobControl(Protocol):
    """What operators do from elsewhere. Each call is audited with its actor and reason, if it changes something.

    Every method raises NotFound if no job of that name was ever scheduled, Held if other processes changed its record
    at each attempt, Unreachable if the store does not answer.
    """

    async def request_run(self, name: str, *, actor: Principal, reason: str) -> str:
        """Ask the process that schedules for a run of a job now; returns the id of the run. Does not wait for it.

        Raises Held if no process schedules.
        """
        ...

    async def set_paused(self, name: str, *, paused: bool, actor: Principal, reason: str) -> bool:
        """Pause or resume a job; returns whether that was a change."""
        ...


class Jobs(tuple[Job, ...]):
    """The jobs of a bot: botctl's own and the operator's. Their names are unique."""

    __slots__ = ()

    def named(self, name: str) -> Job:
        """The job called ``name``. Raises NotFound if there is none."""
        for job in self:
            if job.name == name:
                return job
        known = ", ".join(sorted(job.name for job in self))
        raise NotFound(f"there is no job {name[:40]!r}.", hint=f"Choose from: {known}.")

"""Jobs: what is done again and again, or when somebody asks, in one process at a time.

A job is declared in code, and what became of its runs is kept in a `JobStore`::

    @job("every 10m", missed="skip")
    async def tidy(database: Database) -> None:
        \"\"\"Forget polls that nobody answers any more.\"\"\"
"""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, Protocol, TypeVar

from botctl.core.contracts.schedule import Schedule, parse
from botctl.core.errors import UsageError
from botctl.core.signatures import Key, parameters_of

LEASE: Final = "jobs"
"""The lease whose holder schedules."""
TIMEOUT_S: Final = 300.0
_JOB_ATTRIBUTE: Final = "__botctl_job__"
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,39}", re.ASCII)

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])


class MissedPolicy(enum.StrEnum):
    """What becomes of due times that passed while nobody could run the job.

    ``ONCE``: it runs one time for all of them, as soon as somebody can. ``SKIP``: it waits for the next due time.
    """

    ONCE = "once"
    SKIP = "skip"


class RunResult(enum.StrEnum):
    """How a run came out.

    ``TIMEOUT``: it was cancelled at its time limit. ``CANCELLED``: its process stopped, or lost the lease. ``LOST``:
    its process died, or was silent for as long as the lease lasts; how far it came is not known, and it is not
    repeated.
    """

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run. A job that asks for a ``JobRun`` is told of its own.

    ``due``: the due time it is for, or when somebody asked. ``fence`` is greater than that of every process that ran
    jobs before: a store can refuse what comes with a smaller one.
    """

    id: str
    job: str
    due: datetime
    fence: int
    requested: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """A declared job. ``timeout_s``: how long a run may take."""

    name: str
    function: Callable[..., Awaitable[Any]]
    schedule: Schedule
    missed: MissedPolicy = MissedPolicy.ONCE
    timeout_s: float = TIMEOUT_S

    @property
    def about(self) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def needs(self) -> tuple[Key, ...]:
        """Types of the services that it cannot do without."""
        return tuple(p.key for p in parameters_of(self.function) if not p.optional and p.key is not JobRun)


def job(
    when: str, *, name: str | None = None, missed: Literal["once", "skip"] = "once", timeout_s: float = TIMEOUT_S
) -> Callable[[F], F]:
    """Run an ``async def`` of a file in ``commands/`` at the due times of ``when``, in one process of the bot.

    ``when``: ``every 10s``, or the five fields of cron, in UTC. Its parameters are services, by annotation; one that is
    a `JobRun` is told of the run. ``name``: what people call it; the function's name in kebab case when absent.
    ``missed``: `MissedPolicy`. A run that takes longer than ``timeout_s`` is cancelled.

    Raises:
        ValueError: no such schedule, name, policy or time limit.
        TypeError: not an ``async def``.
    """

    def mark(function: F) -> F:
        called = function.__name__.strip("_").replace("_", "-").lower() if name is None else name
        waits = inspect.iscoroutinefunction(function)
        if not waits:
            raise TypeError(f"the job {called} is not an `async def`")
        if not _NAME.fullmatch(called):
            raise ValueError(f"the job name {called!r} is not 1 to 40 of a-z, 0-9 and -, a letter first")
        if missed not in tuple(MissedPolicy):
            raise ValueError(f"the job {called} has missed={missed!r}; write 'once' or 'skip'")
        if not 0 < timeout_s <= 86_400:  # noqa: PLR2004  a day
            raise ValueError(f"the job {called} has timeout_s={timeout_s!r}; it is more than 0, at most a day")
        setattr(function, _JOB_ATTRIBUTE, Job(called, function, parse(when), MissedPolicy(missed), timeout_s))
        return function

    return mark


def get_declared_job(function: object) -> Job | None:
    """The job that ``function`` was declared to be."""
    found = getattr(function, _JOB_ATTRIBUTE, None)
    return found if isinstance(found, Job) else None


class SchedulableJob(Protocol):
    """A job, as far as its record needs it."""

    @property
    def name(self) -> str: ...
    @property
    def schedule(self) -> Schedule: ...
    @property
    def missed(self) -> MissedPolicy: ...


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job as its record has it, whether or not its code can be loaded."""

    name: str
    schedule: Schedule
    missed: MissedPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """What is known of a job in the store.

    ``revision`` grows with each change. ``fence``: of the last holder of the lease that wrote. ``run``: the run that is
    under way. ``last_*`` tell of the newest run, also of one that is under way; ``outcome`` is None until it ends.
    ``runs`` counts them, ``skipped`` due times that passed without one, ``lost`` runs whose end nobody saw.
    ``requested``: the id of the run that somebody asked for; ``answered``: of the last such run that has ended, and
    ``answer`` how. ``stubborn``: the run under way does not heed its cancellation. ``detail``: more of the newest run,
    a sentence for people. ``removed``: since when the process that schedules knows no such job.
    """

    name: str
    schedule: str
    missed: MissedPolicy
    next_due: datetime
    revision: int = 0
    fence: int = 0
    paused: bool = False
    run: str | None = None
    last_id: str | None = None
    last_due: datetime | None = None
    last_run: datetime | None = None
    last_end: datetime | None = None
    outcome: RunResult | None = None
    error_id: str | None = None
    took_ms: int | None = None
    runs: int = 0
    skipped: int = 0
    lost: int = 0
    requested: str | None = None
    answered: str | None = None
    answer: RunResult | None = None
    stubborn: bool = False
    detail: str | None = None
    removed: datetime | None = None

    @property
    def kept(self) -> StoredJob:
        """The job, as far as it is known here."""
        return StoredJob(self.name, parse(self.schedule), self.missed)


class JobStore(Protocol):
    """What is known of the bot's jobs; for those who look."""

    async def all(self) -> Sequence[JobRecord]:
        """Every job that was ever scheduled or paused, by name.

        Raises:
            Unreachable: the store does not answer.
        """
        ...


class Jobs(tuple[Job, ...]):
    """The jobs of a bot: the shipped ones and the operator's. Their names are unique."""

    __slots__ = ()

    def named(self, name: str) -> Job:
        """The job called ``name``.

        Raises:
            UsageError: there is none.
        """
        for job in self:
            if job.name == name:
                return job
        known = ", ".join(sorted(job.name for job in self))
        raise UsageError(f"there is no job {name[:40]!r}.", hint=f"Choose from: {known}.")

"""Compare the files with the ledger (their records in MongoDB), and decide what to run. Pure functions: no I/O."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from botctl.core.errors import Held, IntegrityError, NeedsDecision, UsageError, WorkPending
from botctl.core.escape import safe
from botctl.migrate.files import Migration


class RecordState(enum.StrEnum):
    """The state in the ledger. ``RUNNING`` is written before a migration starts, so a crash leaves it behind."""

    RUNNING = "running"
    APPLIED = "applied"
    FAILED = "failed"
    REVERTED = "reverted"


class Direction(enum.StrEnum):
    """Which function of the file ran."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """The process that wrote a record."""

    host: str
    pid: int
    born: str  # its start time, since pids are reused: `core.processes.process`
    version: str  # of botctl
    fence: int  # the number of the lease that it held; each holder gets a higher one

    def __str__(self) -> str:
        return f"process {self.pid} on {safe(self.host)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One migration in the ledger."""

    name: str
    n: int  # the number in its name
    checksum: str  # of the file as it was run
    state: RecordState
    direction: Direction  # of the last run, as are the fields below
    started: datetime
    ended: datetime | None
    took_ms: int | None
    by: ProcessIdentity
    error: str | None  # one line


class MigrationStatus(enum.StrEnum):
    """The status of a migration by its file and its record.

    ``CHANGED``: the file is not the one that was applied. ``VANISHED``: applied, but the file is missing. ``LATE``: not
    applied, but a later one is. ``RUNNING`` and ``FAILED`` come from the ledger.
    """

    APPLIED = "applied"
    PENDING = "pending"
    RUNNING = "running"
    FAILED = "failed"
    CHANGED = "changed"
    VANISHED = "vanished"
    LATE = "late"


INCONSISTENT = (MigrationStatus.CHANGED, MigrationStatus.VANISHED, MigrationStatus.LATE)


@dataclass(frozen=True, slots=True)
class MigrationRow:
    """A migration with its status. At least one of ``file`` and ``record`` is set."""

    name: str
    n: int
    status: MigrationStatus
    file: Migration | None
    record: Record | None


def compare(files: Iterable[Migration], records: Iterable[Record]) -> tuple[MigrationRow, ...]:
    """Every migration that has a file or a record, except reverted ones without a file; by number and name."""
    by_name = {file.name: file for file in files}
    in_ledger = {record.name: record for record in records}
    last = max((r.n for r in in_ledger.values() if r.state is not RecordState.REVERTED), default=0)
    rows = []
    for name in by_name.keys() | in_ledger.keys():
        file, record = by_name.get(name), in_ledger.get(name)
        status = _status_of(file, record, last)
        if status is not None:
            rows.append(MigrationRow(name, file.n if file else record.n, status, file, record))  # type: ignore[union-attr]
    return tuple(sorted(rows, key=lambda row: (row.n, row.name)))


def pending(rows: Iterable[MigrationRow]) -> list[Migration]:
    """The files that are not applied yet, in order."""
    return [row.file for row in rows if row.file and row.status is MigrationStatus.PENDING]


def require_consistent(rows: Sequence[MigrationRow]) -> None:
    """Check that files and ledger agree, and that no migration failed or was interrupted.

    Raises:
        IntegrityError: migrations are CHANGED, VANISHED or LATE. The sentence names all of them.
        NeedsDecision: a migration failed or was interrupted.
    """
    if broken := [row for row in rows if row.status in INCONSISTENT]:
        lines = "".join(f"\n  {row.name} {_PROBLEMS[row.status]}" for row in broken)
        raise IntegrityError(
            f"migrations/ and the database contradict each other:{lines}",
            hint="Restore the files, or accept a change with `botctl migrate resolve NAME --applied --reason TEXT`.",
        )
    for row in rows:
        if row.record and row.status in (MigrationStatus.RUNNING, MigrationStatus.FAILED):
            raise NeedsDecision(describe_failure(row.record), hint=_RESOLVE_HINT.format(name=row.name))


def require_none_running(rows: Sequence[MigrationRow], has_exited: Callable[[ProcessIdentity], bool]) -> None:
    """Raise Held if a migration is running, unless its process is known to have exited."""
    for row in rows:
        record = row.record
        if record and row.status is MigrationStatus.RUNNING and not has_exited(record.by):
            since = f"{record.started:%Y-%m-%d %H:%M:%S} UTC"
            raise Held(
                f"{row.name} ({record.direction}) is being run by {record.by} since {since}.",
                hint="Wait for it. If that process has died, run `botctl migrate up`.",
            )


def require_none_pending(rows: Sequence[MigrationRow], hint: str) -> None:
    """Raise WorkPending if migrations are pending, since the bot's code expects the schema that they create."""
    if files := pending(rows):
        count = "1 migration is" if len(files) == 1 else f"{len(files)} migrations are"
        raise WorkPending(f"{count} pending: {', '.join(file.name for file in files)}.", hint=hint)


def describe_failure(record: Record) -> str:
    """Describe a migration that failed or was interrupted, in a sentence."""
    what = f"{record.name} ({record.direction})"
    if record.state is RecordState.RUNNING:
        at = f"{record.started:%Y-%m-%d %H:%M:%S} UTC"
        return (
            f"{what} was interrupted: {record.by} started it at {at} and did not end it. How far it got is not known."
        )
    return f"{what} failed and may be half done: {safe(record.error or 'the error is not known')}."


def select_to_apply(rows: Sequence[MigrationRow], to: int | None = None) -> list[Migration]:
    """The pending files up to number ``to``. Raises UsageError for an unknown ``to``. ``rows`` must be consistent."""
    _require_number(rows, to)
    return [file for file in pending(rows) if to is None or file.n <= to]


def select_to_revert(rows: Sequence[MigrationRow], *, to: int | None = None, steps: int = 1) -> list[Migration]:
    """The files to revert, newest first: all after number ``to``, or the last ``steps``. ``rows`` must be consistent.

    Raises UsageError if there is no migration ``to``, or a file has no ``down``.
    """
    _require_number(rows, to or None)
    applied = [row.file for row in reversed(rows) if row.file and row.status is MigrationStatus.APPLIED]
    chosen = applied[:steps] if to is None else [file for file in applied if file.n > to]
    if irreversible := [file.name for file in chosen if not file.reversible]:
        raise UsageError(
            f"{', '.join(irreversible)} cannot be taken back: there is no `async def down(db)`. Nothing was done.",
            hint="Write a new migration that undoes it: `botctl migrate create`.",
        )
    return chosen


def find_row(rows: Sequence[MigrationRow], name: str) -> MigrationRow:
    """The row whose name or number is ``name``. Raises UsageError if there is none, or several have that number."""
    number = int(name) if re.fullmatch("[0-9]{1,4}", name) else None
    matches = [row for row in rows if name == row.name or number == row.n]
    if len(matches) == 1:
        return matches[0]
    sentence = (
        f"{safe(name, 80)} is the number of several migrations." if matches else f"There is no {safe(name, 80)!r}."
    )
    known = ", ".join(row.name for row in matches or rows) or "none at all"
    raise UsageError(sentence, hint=f"There are: {known}.")


def require_resolvable(row: MigrationRow, state: RecordState) -> None:
    """Raise UsageError if ``row`` has that status already, or has no file to apply."""
    if row.status.value == ("applied" if state is RecordState.APPLIED else "pending"):
        raise UsageError(f"{row.name} is {row.status} already.")
    if state is RecordState.APPLIED and row.file is None:
        sentence = f"{row.name} has no file, so it cannot be marked as applied."
        raise UsageError(sentence, hint="Restore the file, or use --pending to drop the migration from the ledger.")


def _status_of(file: Migration | None, record: Record | None, last: int) -> MigrationStatus | None:
    """The status; None: no file, and no record or a reverted one. ``last``: the highest number not reverted."""
    if record is None or record.state is RecordState.REVERTED:
        if file is None:
            return None
        return MigrationStatus.LATE if file.n < last else MigrationStatus.PENDING
    if record.state is not RecordState.APPLIED:
        return MigrationStatus(record.state)
    if file is None:
        return MigrationStatus.VANISHED
    return MigrationStatus.APPLIED if file.checksum == record.checksum else MigrationStatus.CHANGED


def _require_number(rows: Sequence[MigrationRow], number: int | None) -> None:
    if number is not None and all(row.n != number for row in rows):
        last = max((row.n for row in rows), default=0)
        raise UsageError(f"There is no migration {number:04}.", hint=f"The last one is {last:04}.")


_PROBLEMS = {
    MigrationStatus.CHANGED: "was changed after it was applied",
    MigrationStatus.VANISHED: "was applied, and its file is missing",
    MigrationStatus.LATE: "is not applied, but a later one is",
}
_RESOLVE_HINT = (
    "Look at the data. If all of it is in effect: `botctl migrate resolve {name} --applied --reason TEXT`. If none "
    "of it is, and it may run again: the same with `--pending`."
)

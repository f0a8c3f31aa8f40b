"""Files and ledger held against each other: where the database stands, and what is to be done. Nothing here awaits."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from botctl.core.errors import Held, IntegrityError, NeedsDecision, UsageError, WorkPending
from botctl.core.escape import safe
from botctl.migrate.files import Migration


class RecordState(enum.StrEnum):
    """What the ledger says of a migration. ``RUNNING`` is written before it begins, so a crash leaves it behind."""

    RUNNING = "running"
    APPLIED = "applied"
    FAILED = "failed"
    REVERTED = "reverted"


class Direction(enum.StrEnum):
    """Which of a file's functions ran."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class By:
    """Which process wrote a record. ``born`` tells it from another with the same ``pid`` (`core.processes.process`).

    ``fence`` is that of the lease it held; ``version`` is botctl's.
    """

    host: str
    pid: int
    born: str
    version: str
    fence: int

    def __str__(self) -> str:
        return f"process {self.pid} on {safe(self.host)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One migration in the ledger. ``checksum`` is that of the file as it was run; ``took_ms`` of ``direction``."""

    name: str
    n: int
    checksum: str
    state: RecordState
    direction: Direction
    started: datetime
    ended: datetime | None
    took_ms: int | None
    by: By
    error: str | None


class MigrationStatus(enum.StrEnum):
    """A migration, seen from both sides.

    ``CHANGED``: its file is not the one that was applied. ``VANISHED``: it was applied, and there is no such file.
    ``LATE``: it is not applied, and one that comes after it is. ``RUNNING``, ``FAILED``: as the ledger says.
    """

    APPLIED = "applied"
    PENDING = "pending"
    RUNNING = "running"
    FAILED = "failed"
    CHANGED = "changed"
    VANISHED = "vanished"
    LATE = "late"


INTEGRITY = (MigrationStatus.CHANGED, MigrationStatus.VANISHED, MigrationStatus.LATE)


@dataclass(frozen=True, slots=True)
class MigrationRow:
    """A migration and where it stands; at least one of ``file`` and ``record`` is there."""

    name: str
    n: int
    standing: MigrationStatus
    file: Migration | None
    record: Record | None


def compare(files: Iterable[Migration], records: Iterable[Record]) -> tuple[MigrationRow, ...]:
    """Every migration that has a file or an effect, in order."""
    by_name = {file.name: file for file in files}
    in_ledger = {record.name: record for record in records}
    last = max((r.n for r in in_ledger.values() if r.state is not RecordState.REVERTED), default=0)
    rows = []
    for name in by_name.keys() | in_ledger.keys():
        file, record = by_name.get(name), in_ledger.get(name)
        standing = _standing(file, record, last)
        if standing is not None:
            rows.append(MigrationRow(name, file.n if file else record.n, standing, file, record))  # type: ignore[union-attr]
    return tuple(sorted(rows, key=lambda row: (row.n, row.name)))


def pending(rows: Iterable[MigrationRow]) -> list[Migration]:
    """What is not applied yet, in order."""
    return [row.file for row in rows if row.file and row.standing is MigrationStatus.PENDING]


def require_sound(rows: Sequence[MigrationRow]) -> None:
    """Nothing may be done while the two sides contradict each other, or nobody knows how far a migration came.

    Raises:
        IntegrityError: applied files were changed or have vanished, or the order is broken; the sentence names all.
        NeedsDecision: a migration failed or was cut off.
    """
    if broken := [row for row in rows if row.standing in INTEGRITY]:
        lines = "".join(f"\n  {row.name} {_PROBLEMS[row.standing]}" for row in broken)
        raise IntegrityError(
            f"migrations/ and the database contradict each other:{lines}",
            hint="Put the files back as they were; where they are meant so, `botctl migrate resolve` says it.",
        )
    for row in rows:
        if row.record and row.standing in (MigrationStatus.RUNNING, MigrationStatus.FAILED):
            raise NeedsDecision(story(row.record), hint=_CURE.format(name=row.name))


def require_nobody_at_work(rows: Sequence[MigrationRow], gone: Callable[[By], bool]) -> None:
    """For who looks without the lease. ``gone``: a process is known to have ended.

    Raises:
        Held: a migration runs, as far as can be known.
    """
    for row in rows:
        record = row.record
        if record and row.standing is MigrationStatus.RUNNING and not gone(record.by):
            since = f"{record.started:%Y-%m-%d %H:%M:%S} UTC"
            raise Held(
                f"{row.name} ({record.direction}) is being done by {record.by} since {since}.",
                hint="Should that process have died, `botctl migrate up` finds it out.",
            )


def require_nothing_pending(rows: Sequence[MigrationRow], hint: str) -> None:
    """A bot of this version expects the shape that all of them make.

    Raises:
        WorkPending: some are pending.
    """
    if files := pending(rows):
        count = "1 migration is" if len(files) == 1 else f"{len(files)} migrations are"
        raise WorkPending(f"{count} pending: {', '.join(file.name for file in files)}.", hint=hint)


def story(record: Record) -> str:
    """What is known of a migration that failed or was cut off, in a sentence."""
    what = f"{record.name} ({record.direction})"
    if record.state is RecordState.RUNNING:
        at = f"{record.started:%Y-%m-%d %H:%M:%S} UTC"
        return f"{what} was cut off: {record.by} began it at {at} and did not end it. Nobody knows how far it came."
    return f"{what} failed and may be half done: {safe(record.error or 'the error is not known')}."


def to_apply(rows: Sequence[MigrationRow], to: int | None = None) -> list[Migration]:
    """What `up` runs: all that is pending, up to number ``to``. ``rows`` are sound.

    Raises:
        UsageError: there is no migration ``to``.
    """
    _require_number(rows, to)
    return [file for file in pending(rows) if to is None or file.n <= to]


def to_revert(rows: Sequence[MigrationRow], *, to: int | None = None, steps: int = 1) -> list[Migration]:
    """What `down` runs, newest first: all after number ``to``, or the last ``steps``. ``rows`` are sound.

    Raises:
        UsageError: there is no migration ``to``, or one of them has no ``down``.
    """
    _require_number(rows, to or None)
    applied = [row.file for row in reversed(rows) if row.file and row.standing is MigrationStatus.APPLIED]
    chosen = applied[:steps] if to is None else [file for file in applied if file.n > to]
    if stuck := [file.name for file in chosen if not file.reversible]:
        raise UsageError(
            f"{', '.join(stuck)} cannot be taken back: there is no `async def down(db)`. Nothing was done.",
            hint="Write a new migration that undoes it: `botctl migrate create`.",
        )
    return chosen


def named(rows: Sequence[MigrationRow], name: str) -> MigrationRow:
    """The row of the migration called ``name``; its number alone is enough where only one has it.

    Raises:
        UsageError: there is none, or the number is that of several.
    """
    found = [row for row in rows if name in (row.name, f"{row.n:04}")]
    if len(found) == 1:
        return found[0]
    sentence = f"{safe(name, 80)} is the number of several migrations." if found else f"There is no {safe(name, 80)!r}."
    known = ", ".join(row.name for row in found or rows) or "none at all"
    raise UsageError(sentence, hint=f"There are: {known}.")


def require_changeable(row: MigrationRow, state: RecordState) -> None:
    """A person may say that ``row`` is APPLIED, or REVERTED.

    Raises:
        UsageError: it is already; or there is no file of it that could be applied.
    """
    if row.standing.value == ("applied" if state is RecordState.APPLIED else "pending"):
        raise UsageError(f"{row.name} is {row.standing} already.")
    if state is RecordState.APPLIED and row.file is None:
        sentence = f"{row.name} has no file; it cannot be said to be applied."
        raise UsageError(sentence, hint="Put the file back, or resolve it as --pending: then it is forgotten.")


def _standing(file: Migration | None, record: Record | None, last: int) -> MigrationStatus | None:
    """Where it stands; None when there is nothing of it. ``last``: the newest number that has an effect."""
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
    MigrationStatus.VANISHED: "was applied, and its file is not there",
    MigrationStatus.LATE: "is not applied, and one that comes after it is",
}
_CURE = (
    "Look at the data. Then `botctl migrate resolve {name} --applied`, if all of it is in effect, or `--pending`, if "
    "nothing is and it may run again; each with --reason."
)

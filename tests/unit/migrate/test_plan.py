"""The comparison of files and ledger: its laws, and each way in which they can disagree."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.errors import Held, IntegrityError, NeedsDecision, UsageError, WorkPending
from botctl.migrate.files import Migration
from botctl.migrate.plan import (
    Direction,
    MigrationStatus,
    ProcessIdentity,
    Record,
    RecordState,
    compare,
    find_row,
    pending,
    require_consistent,
    require_none_pending,
    require_none_running,
    require_resolvable,
    select_to_apply,
    select_to_revert,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)
PROCESS = ProcessIdentity("host", 7, "then", "0.1.0", 3)
NUMBERS = st.integers(1, 12)


def file(n: int, *, text: str = "", reversible: bool = True) -> Migration:
    name = f"{n:04}_m{n}"
    return Migration(n, name, Path(f"{name}.py"), "", reversible, (text or name).encode())


def files(count: int) -> list[Migration]:
    return [file(n) for n in range(1, count + 1)]


def record(
    migration: Migration, state: RecordState = RecordState.APPLIED, direction: Direction = Direction.UP
) -> Record:
    return Record(
        name=migration.name,
        n=migration.n,
        checksum=migration.checksum,
        state=state,
        direction=direction,
        started=AT,
        ended=AT,
        took_ms=1,
        by=PROCESS,
        error=None,
    )


def statuses(*args: object) -> dict[int, MigrationStatus]:
    return {row.n: row.status for row in compare(*args)}  # type: ignore[arg-type]


class Database:
    """A ledger in memory, with all plans carried out."""

    def __init__(self, count: int) -> None:
        self.files = files(count)
        self.ledger: dict[str, Record] = {}

    @property
    def rows(self) -> tuple:
        rows = compare(self.files, self.ledger.values())
        require_consistent(rows)
        return rows

    @property
    def applied(self) -> list[int]:
        return [row.n for row in self.rows if row.status is MigrationStatus.APPLIED]

    def up(self, to: int | None = None) -> list[int]:
        plan = select_to_apply(self.rows, to)
        self.ledger |= {file.name: record(file) for file in plan}
        return [file.n for file in plan]

    def down(self, **how: int) -> list[int]:
        plan = select_to_revert(self.rows, **how)
        self.ledger |= {file.name: record(file, RecordState.REVERTED, Direction.DOWN) for file in plan}
        return [file.n for file in plan]


@given(NUMBERS, st.data())
def test_applied_migrations_are_always_the_first_ones(count: int, data: st.DataObject) -> None:
    """After any moves, migrations 1 to k are applied. `up` runs in ascending order, `down` in descending order."""
    db = Database(count)
    for _ in range(data.draw(st.integers(0, 6))):
        before = len(db.applied)
        if data.draw(st.booleans()):
            to = data.draw(st.none() | st.integers(1, count))
            assert db.up(to) == list(range(before + 1, (count if to is None else to) + 1))
        elif data.draw(st.booleans()):
            steps = data.draw(st.integers(1, count))
            assert db.down(steps=steps) == list(range(before, max(0, before - steps), -1))
        else:
            to = data.draw(st.integers(0, count))
            assert db.down(to=to) == list(range(before, min(to, before), -1))
        assert db.applied == list(range(1, len(db.applied) + 1))
    db.up()
    assert (db.up(), pending(db.rows), db.applied) == ([], [], list(range(1, count + 1)))


@given(NUMBERS, st.data())
def test_changed_byte_in_applied_file_stops_everything(count: int, data: st.DataObject) -> None:
    """A changed file that is not applied stops nothing."""
    db = Database(count)
    db.up(data.draw(st.integers(1, count)))
    n = data.draw(st.integers(1, count))
    applied = db.applied
    db.files[n - 1] = file(n, text="edited")
    if n in applied:
        with pytest.raises(IntegrityError, match=f"{n:04}_m{n} was changed after it was applied"):
            db.up()
    else:
        assert db.up() == list(range(len(applied) + 1, count + 1))


def test_changed_vanished_and_late_files_are_reported_together() -> None:
    one, two, three = files(3)
    rows = compare([one, two, three], [record(replace(one, source=b"other")), record(three), record(file(4))])
    assert {row.n: row.status for row in rows} == {
        1: MigrationStatus.CHANGED,
        2: MigrationStatus.LATE,
        3: MigrationStatus.APPLIED,
        4: MigrationStatus.VANISHED,
    }
    with pytest.raises(IntegrityError) as caught:
        require_consistent(rows)
    assert [line.split()[0] for line in str(caught.value).splitlines()[1:]] == ["0001_m1", "0002_m2", "0004_m4"]


def test_renamed_file_is_vanished_and_pending() -> None:
    [one] = files(1)
    renamed = replace(one, name="0001_new")
    assert {row.name: row.status for row in compare([renamed], [record(one)])} == {
        "0001_m1": MigrationStatus.VANISHED,
        "0001_new": MigrationStatus.PENDING,
    }


def test_reverted_migration_is_pending_or_absent_without_file() -> None:
    [one] = files(1)
    back = record(one, RecordState.REVERTED, Direction.DOWN)
    assert statuses([one], [back]) == {1: MigrationStatus.PENDING}
    assert statuses([], [back]) == {}


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("state", [RecordState.RUNNING, RecordState.FAILED])
def test_interrupted_or_failed_migration_needs_a_decision(state: RecordState, direction: Direction) -> None:
    one, two = files(2)
    rows = compare([one, two], [record(one), replace(record(two, state, direction), error="it broke")])
    with pytest.raises(NeedsDecision, match=f"0002_m2 .{direction}.") as caught:
        require_consistent(rows)
    assert "resolve 0002_m2" in caught.value.hint


def test_running_record_is_held_unless_process_has_exited() -> None:
    [one] = files(1)
    rows = compare([one], [record(one, RecordState.RUNNING)])
    with pytest.raises(Held, match="process 7 on host since 2026-01-01 00:00:00 UTC"):
        require_none_running(rows, lambda _: False)
    require_none_running(rows, lambda process: process == PROCESS)


def test_pending_migrations_are_named() -> None:
    with pytest.raises(WorkPending, match="2 migrations are pending: 0001_m1, 0002_m2"):
        require_none_pending(compare(files(2), []), "do it")
    require_none_pending(compare(files(1), [record(file(1))]), "do it")


def test_irreversible_migration_blocks_the_whole_revert() -> None:
    one, two = file(1, reversible=False), file(2)
    rows = compare([one, two], [record(one), record(two)])
    with pytest.raises(UsageError, match="0001_m1 cannot be taken back"):
        select_to_revert(rows, to=0)
    assert select_to_revert(rows) == [two]


@pytest.mark.parametrize("number", [3, 9999])
def test_unknown_target_number_is_refused(number: int) -> None:
    rows = compare(files(2), [])
    with pytest.raises(UsageError, match=r"There is no migration \d{4}\."):
        select_to_apply(rows, number)
    with pytest.raises(UsageError):
        select_to_revert(rows, to=number)


def test_migration_is_found_by_name_or_number() -> None:
    rows = compare(files(2), [])
    assert find_row(rows, "2") == find_row(rows, "0002") == find_row(rows, "0002_m2") == rows[1]
    for name in ("0003", "3", "-1", "00002", "m2", ""):
        with pytest.raises(UsageError, match=f"There is no '{name}'"):
            find_row(rows, name)
    twins = compare(files(1), [replace(record(files(1)[0]), name="0001_other")])
    with pytest.raises(UsageError, match="0001 is the number of several migrations") as caught:
        find_row(twins, "0001")
    assert caught.value.hint == "There are: 0001_m1, 0001_other."


def test_resolve_refuses_same_status_and_missing_file() -> None:
    one, two = files(2)
    applied, idle = compare([one, two], [record(one)])
    [vanished] = compare([], [record(one)])
    for row, state in ((applied, RecordState.APPLIED), (idle, RecordState.REVERTED), (vanished, RecordState.APPLIED)):
        with pytest.raises(UsageError):
            require_resolvable(row, state)
    require_resolvable(applied, RecordState.REVERTED)
    require_resolvable(idle, RecordState.APPLIED)
    require_resolvable(vanished, RecordState.REVERTED)

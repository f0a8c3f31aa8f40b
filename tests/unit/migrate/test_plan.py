"""Files and ledger held against each other: laws, and each way in which they can disagree."""

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
    By,
    Direction,
    MigrationStatus,
    Record,
    RecordState,
    compare,
    named,
    pending,
    require_changeable,
    require_nobody_at_work,
    require_nothing_pending,
    require_sound,
    to_apply,
    to_revert,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)
BY = By("host", 7, "then", "0.1.0", 3)
NUMBERS = st.integers(1, 12)


def file(n: int, *, text: str = "", reversible: bool = True) -> Migration:
    name = f"{n:04}_m{n}"
    return Migration(n, name, Path(f"{name}.py"), "", reversible, (text or name).encode())


def files(count: int) -> list[Migration]:
    return [file(n) for n in range(1, count + 1)]


def record(of: Migration, state: RecordState = RecordState.APPLIED, direction: Direction = Direction.UP) -> Record:
    return Record(
        name=of.name,
        n=of.n,
        checksum=of.checksum,
        state=state,
        direction=direction,
        started=AT,
        ended=AT,
        took_ms=1,
        by=BY,
        error=None,
    )


def standings(*args: object) -> dict[int, MigrationStatus]:
    return {row.n: row.standing for row in compare(*args)}  # type: ignore[arg-type]


class Database:
    """What plans do, done: a ledger in memory."""

    def __init__(self, count: int) -> None:
        self.files = files(count)
        self.ledger: dict[str, Record] = {}

    @property
    def rows(self) -> tuple:
        rows = compare(self.files, self.ledger.values())
        require_sound(rows)
        return rows

    @property
    def applied(self) -> list[int]:
        return [row.n for row in self.rows if row.standing is MigrationStatus.APPLIED]

    def up(self, to: int | None = None) -> list[int]:
        plan = to_apply(self.rows, to)
        self.ledger |= {file.name: record(file) for file in plan}
        return [file.n for file in plan]

    def down(self, **how: int) -> list[int]:
        plan = to_revert(self.rows, **how)
        self.ledger |= {file.name: record(file, RecordState.REVERTED, Direction.DOWN) for file in plan}
        return [file.n for file in plan]


@given(NUMBERS, st.data())
def test_whatever_goes_up_and_down_what_is_applied_is_a_beginning(count: int, data: st.DataObject) -> None:
    """Always 1 to k, in any sequence of moves; up goes up in order, down goes down."""
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
def test_one_changed_byte_of_an_applied_file_stops_everything(count: int, data: st.DataObject) -> None:
    """Of one that is not applied, it does not."""
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


def test_every_contradiction_is_told_at_once() -> None:
    """Changed, vanished, late."""
    one, two, three = files(3)
    rows = compare([one, two, three], [record(replace(one, source=b"other")), record(three), record(file(4))])
    assert {row.n: row.standing for row in rows} == {
        1: MigrationStatus.CHANGED,
        2: MigrationStatus.LATE,
        3: MigrationStatus.APPLIED,
        4: MigrationStatus.VANISHED,
    }
    with pytest.raises(IntegrityError) as caught:
        require_sound(rows)
    assert [line.split()[0] for line in str(caught.value).splitlines()[1:]] == ["0001_m1", "0002_m2", "0004_m4"]


def test_a_renamed_file_is_seen_from_both_sides() -> None:
    [one] = files(1)
    renamed = replace(one, name="0001_new")
    assert {row.name: row.standing for row in compare([renamed], [record(one)])} == {
        "0001_m1": MigrationStatus.VANISHED,
        "0001_new": MigrationStatus.PENDING,
    }


def test_what_was_taken_back_is_pending_again_and_forgotten_without_a_file() -> None:
    [one] = files(1)
    back = record(one, RecordState.REVERTED, Direction.DOWN)
    assert standings([one], [back]) == {1: MigrationStatus.PENDING}
    assert standings([], [back]) == {}


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("state", [RecordState.RUNNING, RecordState.FAILED])
def test_what_was_cut_off_or_failed_needs_a_person(state: RecordState, direction: Direction) -> None:
    """And nothing runs until they have said; the hint names the migration."""
    one, two = files(2)
    rows = compare([one, two], [record(one), replace(record(two, state, direction), error="it broke")])
    with pytest.raises(NeedsDecision, match=f"0002_m2 .{direction}.") as caught:
        require_sound(rows)
    assert "resolve 0002_m2" in caught.value.hint


def test_who_looks_cannot_tell_work_from_death_unless_the_process_is_known_to_be_gone() -> None:
    [one] = files(1)
    rows = compare([one], [record(one, RecordState.RUNNING)])
    with pytest.raises(Held, match="process 7 on host since 2026-01-01 00:00:00 UTC"):
        require_nobody_at_work(rows, lambda _: False)
    require_nobody_at_work(rows, lambda by: by == BY)


def test_pending_ones_are_named() -> None:
    with pytest.raises(WorkPending, match="2 migrations are pending: 0001_m1, 0002_m2"):
        require_nothing_pending(compare(files(2), []), "do it")
    require_nothing_pending(compare(files(1), [record(file(1))]), "do it")


def test_without_a_way_back_nothing_is_taken_back() -> None:
    """Not even those after it."""
    one, two = file(1, reversible=False), file(2)
    rows = compare([one, two], [record(one), record(two)])
    with pytest.raises(UsageError, match="0001_m1 cannot be taken back"):
        to_revert(rows, to=0)
    assert to_revert(rows) == [two]


@pytest.mark.parametrize("number", [3, 9999])
def test_a_number_that_is_not_there_is_no_goal(number: int) -> None:
    rows = compare(files(2), [])
    with pytest.raises(UsageError, match=r"There is no migration \d{4}\."):
        to_apply(rows, number)
    with pytest.raises(UsageError):
        to_revert(rows, to=number)


def test_a_migration_is_called_by_name_or_number() -> None:
    rows = compare(files(2), [])
    assert named(rows, "0002") == named(rows, "0002_m2") == rows[1]
    for name in ("0003", "2", "m2", ""):
        with pytest.raises(UsageError, match=f"There is no '{name}'"):
            named(rows, name)
    twins = compare(files(1), [replace(record(files(1)[0]), name="0001_other")])
    with pytest.raises(UsageError, match="0001 is the number of several migrations") as caught:
        named(twins, "0001")
    assert caught.value.hint == "There are: 0001_m1, 0001_other."


def test_a_person_cannot_say_what_is_so_already_or_what_no_file_does() -> None:
    one, two = files(2)
    applied, idle = compare([one, two], [record(one)])
    [vanished] = compare([], [record(one)])
    for row, state in ((applied, RecordState.APPLIED), (idle, RecordState.REVERTED), (vanished, RecordState.APPLIED)):
        with pytest.raises(UsageError):
            require_changeable(row, state)
    require_changeable(applied, RecordState.REVERTED)
    require_changeable(idle, RecordState.APPLIED)
    require_changeable(vanished, RecordState.REVERTED)

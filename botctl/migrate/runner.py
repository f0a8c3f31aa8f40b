"""Apply and revert migrations for `botctl migrate`, and check them before `botctl run` starts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from botctl.core.clock import Clock
from botctl.core.config.settings import Settings
from botctl.core.contracts.audit_entry import Change, Target, current_operator, make_entry
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.lease import Lease, Leases, LeaseWait
from botctl.core.contracts.malformed import Malformed
from botctl.core.contracts.protocols import Auditor
from botctl.migrate.files import Migration, Migrations, load
from botctl.migrate.ledger import Database, Ledger
from botctl.migrate.plan import (
    Direction,
    MigrationRow,
    MigrationStatus,
    Record,
    RecordState,
    compare,
    find_row,
    pending,
    require_consistent,
    require_none_pending,
    require_resolvable,
    select_to_apply,
    select_to_revert,
)
from botctl.migrate.session import MigrationContext, MigrationSession, ProgressListener, current_process

LEASE: Final = "migrate"
WAIT_MARGIN_S: Final = 1.0  # the lease of a dead process is free after the lease's length and this margin

Selection = Callable[[Sequence[MigrationRow]], list[Migration]]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of the methods of `Migrator`."""

    wait_s: float | None = None  # how long to wait for another process that runs migrations; None: for ever
    listener: ProgressListener = field(default_factory=ProgressListener)
    iface: str = "cli"  # for the audit log, who asked for it: ``cli`` or ``system``


@dataclass(frozen=True, slots=True)
class Migrator:
    """Runs the migrations of one database.

    The methods raise Held when another process runs migrations or takes over, and Unreachable when MongoDB does not
    answer. Before anything runs they raise IntegrityError and NeedsDecision as `plan.require_consistent`.
    """

    context: MigrationContext
    leases: Leases

    async def up(self, migrations: Migrations, *, to: int | None = None, options: RunOptions = RunOptions()) -> None:
        """Apply what is pending, up to number ``to``. For cancellation see `MigrationSession.run`.

        Raises:
            UsageError: there is no migration ``to``.
            MigrationFaults: a file cannot be imported; nothing was run.
            BotctlError: a migration failed.
        """
        rows = await read_rows(migrations, self.context.ledger)
        if not _is_running(rows):  # with nothing to run, no lease is needed
            require_consistent(rows)
            if not select_to_apply(rows, to):
                return
        await self._run(migrations, Direction.UP, lambda now: select_to_apply(now, to), options)

    async def down(
        self,
        migrations: Migrations,
        files: Sequence[Migration],
        *,
        options: RunOptions = RunOptions(),
    ) -> None:
        """Revert ``files``, which `select_to_revert` chose, unless they are no longer the newest. Raises as `up`."""

        def still_newest(rows: Sequence[MigrationRow]) -> list[Migration]:
            names = {file.name for file in files}
            return [file for file in select_to_revert(rows, steps=len(files)) if file.name in names]

        await self._run(migrations, Direction.DOWN, still_newest, options)

    async def resolve(
        self, migrations: Migrations, name: str, state: RecordState, *, reason: str, options: RunOptions = RunOptions()
    ) -> MigrationRow:
        """Record that ``name`` is APPLIED or REVERTED, as an operator says. Return its row before that.

        Raises UsageError if the migration or its file is missing, or it has that status already.
        """
        async with self._lease(options) as lease:
            row = find_row(await read_rows(migrations, self.context.ledger), name)
            require_resolvable(row, state)
            now = self.context.clock.now()
            record = Record(
                name=row.name,
                n=row.n,
                checksum=row.file.checksum if row.file else "",
                state=state,
                direction=Direction.UP if state is RecordState.APPLIED else Direction.DOWN,
                started=now,
                ended=now,
                took_ms=None,
                by=current_process(lease),
                error=None,
            )
            await self.context.ledger.put(record, previous=row.record)
        self.context.auditor.record(
            make_entry(
                "migration.resolve",
                current_operator(),
                at=now,
                iface=options.iface,
                target=Target("migration", row.name),
                reason=reason,
                changes=[Change("state", row.status.value, "applied" if state is RecordState.APPLIED else "pending")],
            )
        )
        return row

    async def wait_until_idle(self, migrations: Migrations) -> tuple[MigrationRow, ...]:
        """Wait until no other process runs migrations, and return all rows. Raises as `require_consistent`."""
        rows = await read_rows(migrations, self.context.ledger)
        if _is_running(rows):
            async with self._lease(RunOptions()):
                rows = await read_rows(migrations, self.context.ledger)
        require_consistent(rows)
        return rows

    def _lease(self, options: RunOptions) -> AbstractAsyncContextManager[Lease]:
        def notify(wait: LeaseWait) -> None:
            options.listener.waiting(_describe_wait(wait, options.wait_s))

        return self.leases.lease(LEASE, ttl_s=self.context.lease_s, wait_s=options.wait_s, on_wait=notify)

    async def _run(self, migrations: Migrations, direction: Direction, select: Selection, options: RunOptions) -> None:
        async with self._lease(options) as lease:
            rows = await read_rows(
                migrations, self.context.ledger
            )  # again: another process may have run some in the meantime
            require_consistent(rows)
            files = select(rows)
            functions = load(migrations, files)
            records = {row.name: row.record for row in rows}
            session = MigrationSession(
                self.context, lease, direction, migrations.folder, options.listener, options.iface
            )
            for file in files:
                await session.run(file, functions[file.name], records[file.name])


class Migrated:
    """A service without methods: the services that need it start after all migrations are applied."""


async def read_rows(migrations: Migrations, ledger: Ledger) -> tuple[MigrationRow, ...]:
    """The status of every migration. Only reads."""
    return compare(migrations.files, await ledger.read())


async def read_rows_that_can_be(migrations: Migrations, ledger: Ledger, malformed: Malformed) -> list[MigrationRow]:
    """As `read_rows`, for people: without the migrations whose ledger documents are ``malformed``."""
    rows = compare(migrations.files, await ledger.read_what_can_be(malformed))
    return [row for row in rows if row.name not in malformed.faults]


@asynccontextmanager
async def migrator(
    *, database: Database, leases: Leases, auditor: Auditor, bus: Bus, clock: Clock, settings: Settings
) -> AsyncIterator[Migrator]:
    yield Migrator(MigrationContext(Ledger(database), auditor, bus, clock, settings.migrate.lease_s), leases)


@asynccontextmanager
async def migrated(migrator: Migrator, migrations: Migrations, *, apply: bool) -> AsyncIterator[Migrated]:
    """Factory of the service that `botctl run` starts before all services that rely on the database's schema.

    ``apply``: apply pending migrations instead of refusing to start. Of several processes that start at once, one
    applies them and the others wait.

    Raises:
        WorkPending: migrations are pending, and ``apply`` is False.
        IntegrityError, NeedsDecision: as `require_consistent`.
        BotctlError: a migration failed.
    """
    rows = await migrator.wait_until_idle(migrations)
    if apply and pending(rows):
        await migrator.up(migrations, options=RunOptions(iface="system"))
    elif not apply:
        require_none_pending(rows, "Apply them with `botctl migrate up`, or start with `botctl run --migrate`.")
    yield Migrated()


def _is_running(rows: Sequence[MigrationRow]) -> bool:
    return any(row.status is MigrationStatus.RUNNING for row in rows)


def _describe_wait(wait: LeaseWait, wait_s: float | None) -> str:
    """``wait_s``: the longest wait; None: no limit."""
    limit = "" if wait_s is None else f" for {wait_s:.0f} s at most"
    if wait.has_ended:
        return f"{wait.holder} ran migrations and has ended: waiting{limit}. Its lease ends in {wait.left_s:.0f} s."
    return f"{wait.holder} runs migrations: waiting{limit}. If it has died, this is known in {wait.left_s:.0f} s."

"""What the verbs of `botctl migrate` do, and what `botctl run` asks for before it starts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from botctl.core.clock import Clock
from botctl.core.config.settings import Settings
from botctl.core.contracts.audit_entry import Change, Target, current_operator, make_entry
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.lease import Lease, Leases
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
    named,
    pending,
    require_changeable,
    require_nothing_pending,
    require_sound,
    to_apply,
    to_revert,
)
from botctl.migrate.session import MigrationSession, ProgressListener, Tools, current_process

LEASE: Final = "migrate"
PATIENCE_S: Final = 1.0  # beyond the lease: whoever waits so long knows whether its holder lives

Plan = Callable[[Sequence[MigrationRow]], list[Migration]]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a verb wants it: ``wait_s`` for another process that does migrations, None for ever; through which ``iface``.

    ``view`` hears what is done.
    """

    wait_s: float | None = None
    view: ProgressListener = field(default_factory=ProgressListener)
    iface: str = "cli"


@dataclass(frozen=True, slots=True)
class Migrator:
    """Does the migrations of one database.

    What it does, raises: Held, when another process does migrations, or takes over from this one; Unreachable, when
    the database does not answer; IntegrityError and NeedsDecision, as `plan.require_sound`, before anything is done.
    """

    tools: Tools
    leases: Leases

    async def up(self, migrations: Migrations, *, to: int | None = None, order: RunOptions = RunOptions()) -> None:
        """Apply what is pending, up to number ``to``. For cancellation see `MigrationSession.run`.

        Raises:
            UsageError: there is no migration ``to``.
            MigrationFaults: a file cannot be imported; nothing was done.
            BotctlError: a migration failed.
        """
        rows = await rows_of(migrations, self.tools.ledger)
        if not _busy(rows):  # what is settled is told without a lease
            require_sound(rows)
            if not to_apply(rows, to):
                return
        await self._do(migrations, Direction.UP, lambda now: to_apply(now, to), order)

    async def down(
        self,
        migrations: Migrations,
        files: Sequence[Migration],
        *,
        order: RunOptions = RunOptions(),
    ) -> None:
        """Take back ``files``, as `to_revert` chose them, as long as they still are the newest. The rest as `up`."""

        def still(rows: Sequence[MigrationRow]) -> list[Migration]:
            names = {file.name for file in files}
            return [file for file in to_revert(rows, steps=len(files)) if file.name in names]

        await self._do(migrations, Direction.DOWN, still, order)

    async def resolve(
        self, migrations: Migrations, name: str, state: RecordState, *, reason: str, order: RunOptions = RunOptions()
    ) -> MigrationRow:
        """Write down that ``name`` is APPLIED, or REVERTED, because a person says so; returns where it stood before.

        Raises:
            UsageError: there is no such migration, it has no file that could be applied, or it stands so already.
        """
        async with self._lease(order) as lease:
            row = named(await rows_of(migrations, self.tools.ledger), name)
            require_changeable(row, state)
            now = self.tools.clock.now()
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
            await self.tools.ledger.put(record, after=row.record)
        self.tools.auditor.record(
            make_entry(
                "migration.resolve",
                current_operator(),
                at=now,
                iface=order.iface,
                target=Target("migration", row.name),
                reason=reason,
                changes=[Change("state", row.standing.value, "applied" if state is RecordState.APPLIED else "pending")],
            )
        )
        return row

    async def settled(self, migrations: Migrations) -> tuple[MigrationRow, ...]:
        """Where everything stands once no other process works on it: that one's end is waited for.

        Raises:
            IntegrityError, NeedsDecision: as `require_sound`.
        """
        rows = await rows_of(migrations, self.tools.ledger)
        if _busy(rows):
            async with self._lease(RunOptions()):
                rows = await rows_of(migrations, self.tools.ledger)
        require_sound(rows)
        return rows

    def _lease(self, order: RunOptions) -> AbstractAsyncContextManager[Lease]:
        def waits(holder: str, left_s: float) -> None:
            limit = "" if order.wait_s is None else f" for {order.wait_s:.0f} s at most"
            order.view.waits(
                f"{holder} does migrations: waiting{limit}. If it has died, that is known in {left_s:.0f} s."
            )

        return self.leases.lease(LEASE, ttl_s=self.tools.lease_s, wait_s=order.wait_s, on_wait=waits)

    async def _do(self, migrations: Migrations, direction: Direction, plan: Plan, order: RunOptions) -> None:
        async with self._lease(order) as lease:
            rows = await rows_of(migrations, self.tools.ledger)  # again: another process may have done it meanwhile
            require_sound(rows)
            files = plan(rows)
            steps = load(migrations, files)
            records = {row.name: row.record for row in rows}
            session = MigrationSession(self.tools, lease, direction, migrations.folder, order.view, order.iface)
            for file in files:
                await session.run(file, steps[file.name], records[file.name])


class Migrated:
    """The database has the shape that the files of this version expect."""


async def rows_of(migrations: Migrations, ledger: Ledger) -> tuple[MigrationRow, ...]:
    """Where every migration stands. Reads, and nothing else."""
    return compare(migrations.files, await ledger.read())


@asynccontextmanager
async def migrator(
    *, database: Database, leases: Leases, auditor: Auditor, bus: Bus, clock: Clock, settings: Settings
) -> AsyncIterator[Migrator]:
    """Factory of the service."""
    yield Migrator(Tools(Ledger(database), auditor, bus, clock, settings.migrate.lease_s), leases)


@asynccontextmanager
async def migrated(migrator: Migrator, migrations: Migrations, *, apply: bool) -> AsyncIterator[Migrated]:
    """Factory of the service that a `botctl run` needs before all that relies on the database's shape.

    ``apply``: what is pending is applied; else it is refused. Of several processes that start at once, one applies it
    and the others wait for that.

    Raises:
        WorkPending: migrations are pending, and not to be applied.
        IntegrityError, NeedsDecision: as `require_sound`.
        BotctlError: a migration failed.
    """
    rows = await migrator.settled(migrations)
    if apply and pending(rows):
        await migrator.up(migrations, order=RunOptions(iface="system"))
    elif not apply:
        require_nothing_pending(rows, "`botctl migrate up` applies them; so does `botctl run --migrate`.")
    yield Migrated()


def _busy(rows: Sequence[MigrationRow]) -> bool:
    return any(row.standing is MigrationStatus.RUNNING for row in rows)

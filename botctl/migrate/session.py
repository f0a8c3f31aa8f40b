"""Run migrations one after the other while a lease is held, and record the start and the end of each."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pymongo

from botctl.core.clock import Clock
from botctl.core.contracts.audit_entry import AuditOutcome, Stage, Target, current_operator, make_entry
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.events import MigrationApplied, MigrationFailed
from botctl.core.contracts.lease import Lease
from botctl.core.contracts.protocols import Auditor
from botctl.core.contracts.service_state import describe_end
from botctl.core.errors import STORE_FAULTS, BotctlError, Held
from botctl.core.escape import safe
from botctl.core.event_loop.tasks import create_watched_task, is_own_cancellation
from botctl.core.ids import event_id
from botctl.core.processes.process import is_running, start_time
from botctl.core.redact import redact
from botctl.core.version import __version__
from botctl.migrate.files import Migration, MigrationFunction, MigrationFunctions, display_path, line_of
from botctl.migrate.ledger import Ledger
from botctl.migrate.plan import Direction, ProcessIdentity, Record, RecordState

_CALL_LIMIT_S: Final = 24 * 3600.0  # for one call to MongoDB in a migration: building an index may take long
_RETRY_S: Final = 0.5
_FINAL_STATES: Final = {Direction.UP: RecordState.APPLIED, Direction.DOWN: RecordState.REVERTED}

_log = logging.getLogger(__name__)


class ProgressListener:
    """Gets the progress of migrations. This one logs it."""

    def started(self, file: Migration, direction: Direction) -> None:
        """``file`` starts now."""
        _log.info("migration %s: %s starts", file.name, direction)

    def finished(self, file: Migration, direction: Direction, took_ms: int) -> None:
        """``file`` is done."""
        _log.info("migration %s: %s is done, in %d ms", file.name, direction, took_ms)

    def waiting(self, sentence: str) -> None:
        """Another process runs migrations. ``sentence`` says which one, and how long that may take."""
        _log.info("%s", sentence)

    def stopping_after(self, file: Migration) -> None:
        """The process is asked to stop. ``file`` may finish, and no other starts."""
        _log.warning("migration %s may finish before the stop", file.name)


@dataclass(frozen=True, slots=True)
class MigrationContext:
    """What every session needs. ``lease_s``: how long the lease lasts without a renewal."""

    ledger: Ledger  # the records of all migrations, in MongoDB
    auditor: Auditor
    bus: Bus
    clock: Clock
    lease_s: float


@dataclass(frozen=True, slots=True)
class MigrationSession:
    """Runs migrations in one direction, while it holds ``lease``."""

    context: MigrationContext
    lease: Lease
    direction: Direction
    folder: Path  # of the files
    listener: ProgressListener
    iface: str  # for the audit log, who asked for it: ``cli`` or ``system``

    async def run(self, file: Migration, functions: MigrationFunctions, previous: Record | None) -> None:
        """Run ``file``, whose record was ``previous``, and record that it started and how it ended.

        A first cancellation lets the migration end, and raises CancelledError after that. A second one interrupts it.

        Raises:
            Held: the lease was lost; another process may hold it.
            Unreachable: the ledger could not be written.
            BotctlError: the migration failed.
        """
        migration = _MigrationRun(self, file, previous)
        task = asyncio.create_task(migration.run(functions), name=f"migration {file.name}")
        stopping = False
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                if stopping:
                    migration.interrupt()
                else:
                    self.listener.stopping_after(file)
                stopping = True
        if stopping:
            task.exception()  # it is in the ledger
            raise asyncio.CancelledError
        task.result()


class _MigrationRun:
    """One run of one migration: records the start, calls its function, records the end."""

    def __init__(self, session: MigrationSession, file: Migration, previous: Record | None) -> None:
        self.session = session
        self.context = session.context
        self.file = file
        self.previous = previous
        self.op = event_id()
        self._work: asyncio.Task[None] | None = None

    def interrupt(self) -> None:
        """Cancel the function of the migration."""
        if self._work is not None:
            self._work.cancel()

    async def run(self, functions: MigrationFunctions) -> None:
        function = functions.up if self.session.direction is Direction.UP else functions.down
        assert function is not None  # noqa: S101  the plan has checked it
        record = await self._begin()
        started_s = self.context.clock.monotonic()
        self._work = asyncio.create_task(self._call(function), name=f"{self.file.name} {self.session.direction}")
        await self._wait_for(self._work)
        error = _error_of(self._work)
        state = _FINAL_STATES[self.session.direction] if error is None else RecordState.FAILED
        end = replace(
            record,
            state=state,
            ended=self.context.clock.now(),
            took_ms=round((self.context.clock.monotonic() - started_s) * 1000),
            error=None if error is None else self._error_text(error),
        )
        await self._end(end, error)

    async def _begin(self) -> Record:
        if not self.session.lease.held:
            raise self._lease_lost()
        record = Record(
            name=self.file.name,
            n=self.file.n,
            checksum=self.file.checksum,
            state=RecordState.RUNNING,
            direction=self.session.direction,
            started=self.context.clock.now(),
            ended=None,
            took_ms=None,
            by=current_process(self.session.lease),
            error=None,
        )
        await self.context.ledger.put(record, previous=self.previous)
        self._audit(record, Stage.BEGIN)
        self.session.listener.started(self.file, self.session.direction)
        return record

    async def _call(self, function: MigrationFunction) -> None:
        with pymongo.timeout(_CALL_LIMIT_S):
            try:
                await function(self.context.ledger.database)
            except SystemExit as error:  # it would end the event loop, and with it everything that is to follow
                raise RuntimeError(f"it called exit({error.code})") from error
            except KeyboardInterrupt as error:
                raise RuntimeError("it raised KeyboardInterrupt") from error
            except asyncio.CancelledError as error:
                if is_own_cancellation(error):
                    raise
                raise RuntimeError("it raised CancelledError, or awaited a task that was cancelled") from error

    async def _wait_for(self, work: asyncio.Task[None]) -> None:
        """Return when ``work`` has ended. Cancel it when the lease is lost."""
        lost = create_watched_task(self.session.lease.lost.wait(), name="migration lease")
        try:
            await asyncio.wait({work, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel("the lease was lost")
                await asyncio.wait({work})
        finally:
            lost.cancel()

    async def _end(self, record: Record, error: BaseException | None) -> None:
        """Record and publish how the migration ended."""
        name, direction, took_ms = self.file.name, self.session.direction, record.took_ms or 0
        if error is None:
            await self._write(record)
            self.context.bus.publish(MigrationApplied(name=name, direction=direction.value, took_ms=took_ms))
            self._audit(record, Stage.END)
            self.session.listener.finished(self.file, direction, took_ms)
            return
        text = record.error or ""
        with suppress(BotctlError):  # the migration's own error matters more; the record stays RUNNING
            await self._write(record)
        self.context.bus.publish(MigrationFailed(name=name, direction=direction.value, took_ms=took_ms, error=text))
        self._audit(record, Stage.END)
        raise self._failure(error, text) from error

    async def _write(self, record: Record) -> None:
        """Write the end. Retry as long as the lease is held, so that a short outage needs no operator."""
        while True:
            try:
                return await self.context.ledger.finish(record)
            except STORE_FAULTS:
                if not self.session.lease.held:
                    raise
                await asyncio.sleep(_RETRY_S)

    def _audit(self, record: Record, stage: Stage) -> None:
        """Add an entry to the audit log; ``stage``: the migration's begin or end."""
        self.context.auditor.record(
            make_entry(
                f"migration.{record.direction}",
                current_operator(),
                at=self.context.clock.now(),
                iface=self.session.iface,
                target=Target("migration", record.name),
                outcome=_OUTCOMES[record.state],
                reason=record.error,
                ms=record.took_ms,
                op=self.op,
                stage=stage,
            )
        )

    def _error_text(self, error: BaseException) -> str:
        """The error in one line, with the line of the file that raised it."""
        if isinstance(error, asyncio.CancelledError):
            return redact(str(error)) or "it was interrupted"
        where = f"{display_path(self.file.path, self.session.folder)}:{line_of(error, self.file.path)}"
        return safe(redact(f"{where}: {describe_end(error)}"), 500)

    def _failure(self, error: BaseException, text: str) -> BotctlError:
        if isinstance(error, asyncio.CancelledError) and self.session.lease.lost.is_set():
            return self._lease_lost()
        return BotctlError(
            f"{self.file.name} ({self.session.direction}) failed: {text}.",
            hint="It may be half done. `botctl migrate status` shows how to go on.",
        )

    def _lease_lost(self) -> Held:
        return Held(
            f"The lease was lost, so {self.file.name} ({self.session.direction}) was stopped before its end.",
            hint="MongoDB did not answer, or the migration blocked this process, for longer than migrate.lease_s.",
        )


def current_process(lease: Lease) -> ProcessIdentity:
    """The running process, as the holder of ``lease``."""
    pid = os.getpid()
    return ProcessIdentity(socket.gethostname(), pid, start_time(pid) or "", __version__, lease.fence)


def has_exited(process: ProcessIdentity) -> bool:
    """Whether that process is known to have ended. False if it ran on another host."""
    return process.host == socket.gethostname() and bool(process.born) and not is_running(process.pid, process.born)


def _error_of(work: asyncio.Task[None]) -> BaseException | None:
    """The exception of ``work``, which has ended; None if it has none."""
    try:
        return work.exception()
    except asyncio.CancelledError as error:
        return error


_OUTCOMES = {
    RecordState.RUNNING: AuditOutcome.UNKNOWN,
    RecordState.APPLIED: AuditOutcome.SUCCESS,
    RecordState.REVERTED: AuditOutcome.SUCCESS,
    RecordState.FAILED: AuditOutcome.ERROR,
}

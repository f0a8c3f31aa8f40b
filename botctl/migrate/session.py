"""One migration after the other, while a lease is held: each written down before it begins and after it ends."""

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
from botctl.core.errors import BotctlError, Held, Unreachable
from botctl.core.escape import safe
from botctl.core.ids import event_id
from botctl.core.processes.process import is_running, start_time
from botctl.core.redact import redact
from botctl.core.version import __version__
from botctl.migrate.files import Migration, Step, Steps, line_of, shown
from botctl.migrate.ledger import Ledger
from botctl.migrate.plan import By, Direction, Record, RecordState

_MOST_S: Final = 24 * 3600.0  # of one call to MongoDB within a migration: building an index takes its time
_AGAIN_S: Final = 0.5
_ENDS: Final = {Direction.UP: RecordState.APPLIED, Direction.DOWN: RecordState.REVERTED}

_log = logging.getLogger(__name__)


class ProgressListener:
    """Hears what happens; this one logs it."""

    def begins(self, file: Migration, direction: Direction) -> None:
        """``file`` is next."""
        _log.info("migration %s: %s begins", file.name, direction)

    def ended(self, file: Migration, direction: Direction, took_ms: int) -> None:
        """It is done."""
        _log.info("migration %s: %s is done, in %d ms", file.name, direction, took_ms)

    def waits(self, sentence: str) -> None:
        """Another process does migrations: which, and how long that may take."""
        _log.info("%s", sentence)

    def stops_after(self, file: Migration) -> None:
        """A stop was asked for; ``file`` may finish, and no other begins."""
        _log.warning("migration %s may finish before the stop", file.name)


@dataclass(frozen=True, slots=True)
class Tools:
    """What every session needs. ``lease_s``: how long a process that does migrations may be silent."""

    ledger: Ledger
    auditor: Auditor
    bus: Bus
    clock: Clock
    lease_s: float


@dataclass(frozen=True, slots=True)
class MigrationSession:
    """Does migrations of ``folder`` in one direction. ``iface``: through which it came, for the audit log."""

    tools: Tools
    lease: Lease
    direction: Direction
    folder: Path
    view: ProgressListener
    iface: str

    async def run(self, file: Migration, steps: Steps, before: Record | None) -> None:
        """Do ``file``, whose record was ``before``, and write down that it began and how it ended.

        Cancelled once, it goes on to the end and raises then; cancelled twice, the migration is interrupted.

        Raises:
            Held: the lease was lost.
            Unreachable: the ledger could not be written.
            BotctlError: the migration failed.
        """
        one = _One(self, file, before)
        whole = asyncio.create_task(one.run(steps), name=f"migration {file.name}")
        stop = False
        while not whole.done():
            try:
                await asyncio.wait({whole})
            except asyncio.CancelledError:
                if stop:
                    one.interrupt()
                else:
                    self.view.stops_after(file)
                stop = True
        if stop:
            whole.exception()  # it stands in the ledger
            raise asyncio.CancelledError
        whole.result()


class _One:
    """One migration, being done."""

    def __init__(self, session: MigrationSession, file: Migration, before: Record | None) -> None:
        self.session = session
        self.tools = session.tools
        self.file = file
        self.before = before
        self.op = event_id()
        self._work: asyncio.Task[None] | None = None

    def interrupt(self) -> None:
        if self._work is not None:
            self._work.cancel()

    async def run(self, steps: Steps) -> None:
        step = steps.up if self.session.direction is Direction.UP else steps.down
        assert step is not None  # noqa: S101  the plan has seen to it
        record = await self._begin()
        began_s = self.tools.clock.monotonic()
        self._work = asyncio.create_task(self._called(step), name=f"{self.file.name} {self.session.direction}")
        await self._until_ended(self._work)
        error = _error_of(self._work)
        state = _ENDS[self.session.direction] if error is None else RecordState.FAILED
        end = replace(
            record,
            state=state,
            ended=self.tools.clock.now(),
            took_ms=round((self.tools.clock.monotonic() - began_s) * 1000),
            error=None if error is None else self._said(error),
        )
        await self._end(end, error)

    async def _begin(self) -> Record:
        if not self.session.lease.held:
            raise self._lost()
        record = Record(
            name=self.file.name,
            n=self.file.n,
            checksum=self.file.checksum,
            state=RecordState.RUNNING,
            direction=self.session.direction,
            started=self.tools.clock.now(),
            ended=None,
            took_ms=None,
            by=current_process(self.session.lease),
            error=None,
        )
        await self.tools.ledger.put(record, after=self.before)
        self._audit(record, Stage.BEGIN)
        self.session.view.begins(self.file, self.session.direction)
        return record

    async def _called(self, step: Step) -> None:
        with pymongo.timeout(_MOST_S):
            try:
                await step(self.tools.ledger.database)
            except SystemExit as error:  # it would end the event loop, and with it everything that is to follow
                raise RuntimeError(f"it called exit({error.code})") from error

    async def _until_ended(self, work: asyncio.Task[None]) -> None:
        """Return when ``work`` has ended; it is cancelled when the lease is lost."""
        lost = asyncio.create_task(self.session.lease.lost.wait(), name="migration lease")
        try:
            await asyncio.wait({work, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel("the lease was lost")
                await asyncio.wait({work})
        finally:
            lost.cancel()

    async def _end(self, record: Record, error: BaseException | None) -> None:
        """Write and tell how it ended."""
        name, direction, took_ms = self.file.name, self.session.direction, record.took_ms or 0
        if error is None:
            await self._write(record)
            self.tools.bus.publish(MigrationApplied(name=name, direction=direction.value, took_ms=took_ms))
            self._audit(record, Stage.END)
            self.session.view.ended(self.file, direction, took_ms)
            return
        said = record.error or ""
        with suppress(BotctlError):  # that it failed is worth more; the ledger says that it began and did not end
            await self._write(record)
        self.tools.bus.publish(MigrationFailed(name=name, direction=direction.value, took_ms=took_ms, error=said))
        self._audit(record, Stage.END)
        raise self._failure(error, said) from error

    async def _write(self, record: Record) -> None:
        """Write the end, and try again for as long as the lease is held: a hiccup should not need a person."""
        while True:
            try:
                return await self.tools.ledger.end(record)
            except Unreachable:
                if not self.session.lease.held:
                    raise
                await asyncio.sleep(_AGAIN_S)

    def _audit(self, record: Record, stage: Stage) -> None:
        self.tools.auditor.record(
            make_entry(
                f"migration.{record.direction}",
                current_operator(),
                at=self.tools.clock.now(),
                iface=self.session.iface,
                target=Target("migration", record.name),
                outcome=_OUTCOMES[record.state],
                reason=record.error,
                ms=record.took_ms,
                op=self.op,
                stage=stage,
            )
        )

    def _said(self, error: BaseException) -> str:
        """The error in one line, with the line of the file that it comes from."""
        if isinstance(error, asyncio.CancelledError):
            return str(error) or "it was interrupted"
        where = f"{shown(self.file.path, self.session.folder)}:{line_of(error, self.file.path)}"
        return redact(safe(f"{where}: {describe_end(error)}", 500))

    def _failure(self, error: BaseException, said: str) -> BotctlError:
        if isinstance(error, asyncio.CancelledError) and self.session.lease.lost.is_set():
            return self._lost()
        return BotctlError(
            f"{self.file.name} ({self.session.direction}) failed: {said}.",
            hint="It may be half done. `botctl migrate status` says how to go on.",
        )

    def _lost(self) -> Held:
        return Held(
            f"The lease was lost, so {self.file.name} ({self.session.direction}) was not done to its end.",
            hint="MongoDB was away for too long, or the migration blocked this process: see migrate.lease_s.",
        )


def current_process(lease: Lease) -> By:
    """The process that runs this, as the holder of ``lease``."""
    pid = os.getpid()
    return By(socket.gethostname(), pid, start_time(pid) or "", __version__, lease.fence)


def has_exited(by: By) -> bool:
    """Whether that process is known to have ended; of another host's nothing is known."""
    return by.host == socket.gethostname() and bool(by.born) and not is_running(by.pid, by.born)


def _error_of(work: asyncio.Task[None]) -> BaseException | None:
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

"""The open connections: limits, callers (keys and sessions), heartbeats and deadlines."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Final

from botctl.core.clock import Clock
from botctl.core.contracts.audit_entry import AuditOutcome, Principal, Stage, Target, make_entry
from botctl.core.contracts.callers import Caller
from botctl.core.contracts.protocols import Auditor
from botctl.core.contracts.throttle import address_subject
from botctl.core.http.proxies import Network
from botctl.realtime.admission import ConnectionLimits, SocketAdmission
from botctl.realtime.budgets import Refill, WorkBudget, WorkLimits
from botctl.realtime.liveness import Deadlines, close_reason
from botctl.realtime.protocol import CloseReason, encode_push
from botctl.realtime.socket import Socket, SocketLimits, text_frame

SWEEP_S: Final = 0.5  # between two checks of all deadlines
_HEARTBEAT: Final = text_frame(encode_push("heartbeat"))
_RIGHTS: Final = text_frame(encode_push("rights"))


@dataclass(slots=True)
class ConnectionCounts:
    """Totals. ``rejected``: requests over a limit. ``disconnected``: closed by the server, by reason."""

    opened: int = 0
    rejected: int = 0
    disconnected: Counter[str] = field(default_factory=Counter)


class ConnectionRegistry:
    """All connections of one server."""

    def __init__(
        self,
        connection_limits: ConnectionLimits,
        socket_limits: SocketLimits,
        deadlines: Deadlines,
        *,
        sockets: Refill,
        work: WorkLimits,
        proxies: Sequence[Network] = (),
        auditor: Auditor,
        clock: Clock,
    ) -> None:
        self.socket_limits = socket_limits
        self.counts = ConnectionCounts()
        self.clients: set[Socket] = set()
        self.closed = False
        self.connection_limits = connection_limits
        self.admission = SocketAdmission(
            connection_limits,
            sockets,
            work,
            proxies=proxies,
            time_s=clock.monotonic,
            with_key=lambda: len(self._callers),
        )
        self._deadlines = deadlines
        self._auditor = auditor
        self._clock = clock
        self._by_address: Counter[str] = Counter()
        self._by_caller: dict[str, set[Socket]] = {}  # by id
        self._callers: dict[Socket, Caller] = {}
        self._keeps_rights: dict[Socket, Callable[[], bool]] = {}
        self._valid_until: dict[str, datetime] = {}  # by caller, if it expires
        self._all_closed = asyncio.Event()
        self._ended: set[str] = set()  # kept while a check may have read an older state
        self._changed: set[str] = set()  # during the checks in progress
        self._checks_in_progress = 0
        self._heartbeat_due_s: dict[Socket, float] = {}
        self._random = Random()  # noqa: S311  spreads heartbeats

    @property
    def buffered_bytes(self) -> int:
        """Bytes that all clients have not taken yet."""
        return sum(client.buffered_bytes for client in self.clients)

    @property
    def stalled(self) -> int:
        """Number of clients that have not taken all data."""
        return sum(client.health.has_backlog for client in self.clients)

    # --- admission -------------------------------------------------------------------------------------------------

    def on_open(self, client: Socket) -> bool:
        """Add ``client``, whose socket was admitted; False if the server stops."""
        if self.closed:
            self.count_rejected()
            return False
        self.counts.opened += 1
        self.clients.add(client)
        self._by_address[address_subject(client.address)] += 1
        self._heartbeat_due_s[client] = client.health.opened_s + self._deadlines.heartbeat_s * self._random.random()
        return True

    @property
    def rejected(self) -> int:
        """How many connections a limit has refused: sockets that were not accepted, and requests."""
        return self.counts.rejected + self.admission.refused

    def count_rejected(self) -> None:
        self.counts.rejected += 1

    def on_close(self, client: Socket) -> None:
        if client not in self.clients:
            return
        self.clients.discard(client)
        if not self.clients:
            self._all_closed.set()
        del self._heartbeat_due_s[client]
        self._leave_address(client)
        if (caller := self._callers.pop(client, None)) is not None:
            self._by_caller[caller.id].discard(client)
            del self._keeps_rights[client]
            if not self._by_caller[caller.id]:
                del self._by_caller[caller.id]
        if client.disconnect_reason is not None:
            self.counts.disconnected[client.disconnect_reason.phrase] += 1

    def exceeds_address_limit(self, client: Socket) -> bool:
        """Whether the address of ``client`` has too many connections."""
        return self._by_address[address_subject(client.address)] > self.connection_limits.per_address

    def work_budget(self, client: Socket) -> WorkBudget:
        """The work that ``client`` may cost from now on; more with a key."""
        return self.admission.budget(client.address, has_key=client.health.authenticated)

    def move(self, client: Socket, address: str) -> bool:
        """Count ``client`` under ``address``, for which a proxy connects; False if that address is over its limits."""
        if self._by_address[address_subject(address)] >= self.connection_limits.sockets_per_address:
            return False
        self._leave_address(client)
        client.address = address
        self._by_address[address_subject(address)] += 1
        client.budget.share(self.admission.shared(address, has_key=False))
        return self.admission.admit_address(address)

    def _leave_address(self, client: Socket) -> None:
        address = address_subject(client.address)
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    @contextmanager
    def checking(self) -> Iterator[None]:
        """See `session.Admission.checking`."""
        self._checks_in_progress += 1
        try:
            yield
        finally:
            self._checks_in_progress -= 1
            if not self._checks_in_progress:
                self._changed.clear()

    def admit(self, client: Socket, caller: Caller, keeps_rights: Callable[[], bool]) -> CloseReason | None:
        """See `session.Admission.admit`."""
        if caller.id in self._ended:  # during the check
            return CloseReason.KEY_ENDED
        if caller.id in self._changed:
            return CloseReason.ACCESS_CHANGED
        if len(self._by_caller.get(caller.id, ())) >= self.connection_limits.per_key:
            return CloseReason.TOO_MANY_CONNECTIONS
        self._callers[client] = caller
        self._keeps_rights[client] = keeps_rights
        self._by_caller.setdefault(caller.id, set()).add(client)
        self.end_by(caller.id, caller.expires_at)
        return None

    def record_refused(self, client: Socket, what: str, reason: str) -> None:
        """See `session.Admission.record_refused`. The auditor merges entries of one address."""
        address = address_subject(client.address)
        self._auditor.record(
            make_entry(
                f"{what}.use",
                Principal("address", address),
                at=self._clock.now(),
                iface="api",
                stage=Stage.END,
                outcome=AuditOutcome.DENIED,
                target=Target("server", "realtime"),
                reason=reason,
            )
        )

    # --- supervision -----------------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Send heartbeats and enforce deadlines, for ever. Time in which the event loop stood still does not count."""
        loop = asyncio.get_running_loop()
        limits = self._deadlines
        every_s = min(SWEEP_S, limits.auth_s / 4, limits.stall_s / 4, limits.heartbeat_s / 4)
        while True:
            self.sweep_once(loop.time())
            due_s = loop.time() + every_s
            await asyncio.sleep(every_s)
            now_s = loop.time()
            late_s = now_s - due_s
            if late_s > every_s:
                self.postpone(late_s, now_s)

    def postpone(self, late_s: float, now_s: float) -> None:
        """Move the deadlines of all clients by the ``late_s`` seconds, until ``now_s``, that the loop stood still."""
        for client in self.clients:
            client.health.postpone(late_s, now_s)

    def sweep_once(self, now_s: float) -> None:
        """Disconnect clients that are over a deadline at ``now_s``; send due heartbeats to the others."""
        now = self._clock.now()
        for caller_id in [caller_id for caller_id, end in self._valid_until.items() if end <= now]:
            del self._valid_until[caller_id]
            self.disconnect_caller(caller_id)
        for client in tuple(self.clients):
            if not client.is_open:
                continue  # the handshake and the close have their own timeouts
            reason = close_reason(client.check_health(now_s), now_s, self._deadlines)
            if reason is not None:
                client.disconnect(reason)
            elif now_s >= self._heartbeat_due_s[client]:
                self._heartbeat_due_s[client] = now_s + self._deadlines.heartbeat_s
                client.push(_HEARTBEAT)
                client.send_keepalive_ping()

    @property
    def callers(self) -> Mapping[str, Caller]:
        """The callers of the open connections, by id: the one of the newest connection of each."""
        return {caller.id: caller for caller in self._callers.values()}

    def disconnect_caller(self, caller_id: str, reason: CloseReason = CloseReason.KEY_ENDED) -> None:
        """Disconnect all clients of a key or session that has ended; or (ACCESS_CHANGED) that is not as it was."""
        if reason is CloseReason.KEY_ENDED:
            self._ended.add(caller_id)
        elif self._checks_in_progress:
            self._changed.add(caller_id)
        for client in tuple(self._by_caller.get(caller_id, ())):
            client.disconnect(reason)

    def end_by(self, caller_id: str, end: datetime | None) -> None:
        """Remember that a caller is not valid after ``end``. What was known before may only be earlier."""
        if end is not None:
            self._valid_until[caller_id] = min(end, self._valid_until.get(caller_id, end))

    def review_rights(self, has_changed: Callable[[Caller], bool]) -> None:
        """Disconnect clients that do what their caller may not do any more; tell the others whose rights changed."""
        for client, keeps_rights in tuple(self._keeps_rights.items()):
            if not keeps_rights():
                client.disconnect(CloseReason.ACCESS_CHANGED)
        for caller_id in [caller_id for caller_id, caller in self.callers.items() if has_changed(caller)]:
            for client in tuple(self._by_caller[caller_id]):
                if client.is_open:
                    client.push(_RIGHTS)

    def forget_ended(self) -> None:
        """Forget callers that ended and have no connections, unless one is being checked: the store knows of them."""
        if not self._checks_in_progress:
            self._ended.intersection_update(self._by_caller)
            for caller_id in self._valid_until.keys() - self._by_caller.keys():
                del self._valid_until[caller_id]

    # --- shutdown --------------------------------------------------------------------------------------------------

    async def drain(self, limit_s: float) -> None:
        """Ask all clients to reconnect later, at different times. Abort those that are left after ``limit_s``."""
        self.closed = True
        for client in tuple(self.clients):
            if client.health.has_backlog or client.paused:
                client.transport.abort()  # it does not read, so it would not get the message
            elif client.is_open:
                retry_after_s = round(self._random.uniform(0.5, 5.0), 2)
                client.push(
                    text_frame(encode_push("closing", code=int(CloseReason.SHUTDOWN), retry_after_s=retry_after_s))
                )
                client.disconnect(CloseReason.SHUTDOWN, detail=f"shutdown, retry after {retry_after_s} s")
        if self.clients:
            self._all_closed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await self._all_closed.wait()
        for client in tuple(self.clients):
            client.transport.abort()

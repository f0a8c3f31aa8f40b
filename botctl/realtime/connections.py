"""Who is connected: how many there may be, whose key each has, and the look at all of them now and then."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Final

from botctl.core.clock import Clock
from botctl.core.contracts.api_keys import ApiKey, ApiKeys
from botctl.core.contracts.audit_entry import AuditOutcome, Principal, Stage, Target, make_entry
from botctl.core.contracts.event_log import EventLog, Position
from botctl.core.contracts.events import KeyRevoked
from botctl.core.contracts.protocols import Auditor
from botctl.core.contracts.throttle import address_subject
from botctl.core.errors import Unreachable
from botctl.realtime.liveness import Deadlines, close_reason
from botctl.realtime.protocol import CloseReason, message
from botctl.realtime.socket import Socket, SocketLimits, text_frame

SWEEP_S: Final = 0.5
RECHECK_S: Final = 5.0
"""How often the keys of all who are connected are looked up again: for expiry, and for revocations nobody heard of."""
_READ_S: Final = 1.0
_HEARTBEAT: Final = text_frame(message("heartbeat"))


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections there may be."""

    total: int
    per_key: int
    per_address: int

    @property
    def sockets_per_address(self) -> int:
        """What one address may hold before any request: a little more, so that one too many can be told so (429)."""
        return self.per_address + max(1, self.per_address // 10)


@dataclass(slots=True)
class ConnectionCounts:
    """``opened`` and ``turned_away`` (no room) at the door; ``ended``: those the server cut, by reason."""

    opened: int = 0
    turned_away: int = 0
    ended: Counter[str] = field(default_factory=Counter)


class ConnectionRegistry:
    """All connections of one server."""

    def __init__(
        self,
        connection_limits: ConnectionLimits,
        socket_limits: SocketLimits,
        deadlines: Deadlines,
        *,
        auditor: Auditor,
        clock: Clock,
    ) -> None:
        self.socket_limits = socket_limits
        self.counts = ConnectionCounts()
        self.clients: set[Socket] = set()
        self.closed = False
        self._connection_limits = connection_limits
        self._deadlines = deadlines
        self._auditor = auditor
        self._clock = clock
        self._by_address: Counter[str] = Counter()
        self._by_key: dict[str, set[Socket]] = {}
        self._keys: dict[Socket, str] = {}
        self._empty = asyncio.Event()
        self._revoked: set[str] = set()  # as long as a check may not know of it yet
        self._checks = 0  # under way
        self._due_s: dict[Socket, float] = {}  # of the next heartbeat
        self._random = Random()  # noqa: S311  spreads heartbeats

    @property
    def held_bytes(self) -> int:
        """What is kept for all clients in this process."""
        return sum(client.held_bytes for client in self.clients)

    @property
    def stalled(self) -> int:
        """Clients for whom something waits."""
        return sum(client.health.waiting for client in self.clients)

    # --- at the door -----------------------------------------------------------------------------------------------

    def opened(self, client: Socket) -> bool:
        """Take ``client`` in; False when there is no room, here or for its address, or the server stops."""
        address = address_subject(client.address)
        limits = self._connection_limits
        full = len(self.clients) >= limits.total or self._by_address[address] >= limits.sockets_per_address
        if self.closed or full:
            self.turn_away()
            return False
        self.counts.opened += 1
        self.clients.add(client)
        self._by_address[address] += 1
        self._due_s[client] = client.health.opened_s + self._deadlines.heartbeat_s * self._random.random()
        return True

    def turn_away(self) -> None:
        """Count one that finds no room."""
        self.counts.turned_away += 1

    def lost(self, client: Socket) -> None:
        """Forget ``client``."""
        if client not in self.clients:
            return
        self.clients.discard(client)
        if not self.clients:
            self._empty.set()
        del self._due_s[client]
        address = address_subject(client.address)
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
        if (key_id := self._keys.pop(client, None)) is not None:
            self._by_key[key_id].discard(client)
            if not self._by_key[key_id]:
                del self._by_key[key_id]
        if client.closed_for is not None:
            self.counts.ended[client.closed_for.words] += 1

    def crowded(self, client: Socket) -> bool:
        """Whether there are more connections from the address of ``client`` than there may be."""
        return self._by_address[address_subject(client.address)] > self._connection_limits.per_address

    @contextmanager
    def checking(self) -> Iterator[None]:
        """As `session.Admission.checking`."""
        self._checks += 1
        try:
            yield
        finally:
            self._checks -= 1

    def admit(self, client: Socket, key: ApiKey) -> CloseReason | None:
        """As `session.Admission.admit`."""
        if key.id in self._revoked:  # while it was being looked up
            return CloseReason.KEY_ENDED
        if len(self._by_key.get(key.id, ())) >= self._connection_limits.per_key:
            return CloseReason.TOO_MANY_CONNECTIONS
        self._keys[client] = key.id
        self._by_key.setdefault(key.id, set()).add(client)
        return None

    def refused(self, client: Socket, why: str) -> None:
        """As `session.Admission.refused`. Many of one address become one audit entry."""
        address = address_subject(client.address)
        self._auditor.record(
            make_entry(
                "key.use",
                Principal("address", address),
                at=self._clock.now(),
                iface="api",
                stage=Stage.END,
                outcome=AuditOutcome.DENIED,
                target=Target("server", "realtime"),
                reason=why,
            )
        )

    # --- while they are here ---------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """See to heartbeats and deadlines, for ever."""
        loop = asyncio.get_running_loop()
        limits = self._deadlines
        every_s = min(SWEEP_S, limits.auth_s / 4, limits.stall_s / 4, limits.heartbeat_s / 4)
        while True:
            self.sweep_once(loop.time())
            await asyncio.sleep(every_s)

    def sweep_once(self, now_s: float) -> None:
        """Cut who has to go at ``now_s``; heartbeats for the rest."""
        for client in tuple(self.clients):
            if not client.is_open:
                continue  # still shaking hands, which has a limit, or cut, which has another
            why = close_reason(client.check_health(now_s), now_s, self._deadlines)
            if why is not None:
                client.cut(why)
            elif now_s >= self._due_s[client]:
                self._due_s[client] = now_s + self._deadlines.heartbeat_s
                client.push(_HEARTBEAT)
                client.ask_for_life()

    def cut_key(self, key_id: str) -> None:
        """Cut everyone with the key ``key_id``, which is never good again."""
        self._revoked.add(key_id)
        for client in tuple(self._by_key.get(key_id, ())):
            client.cut(CloseReason.KEY_ENDED)

    async def hear_revocations(self, log: EventLog) -> None:
        """Cut everyone whose key is revoked, at the moment it is told; for ever. `recheck` covers what is not heard.

        Raises:
            Unreachable: the log cannot be read.
        """
        position: Position = await log.position(KeyRevoked.topic)
        while True:
            page = await log.read(KeyRevoked.topic, position, wait_s=_READ_S)
            position = page.position
            for entry in page.entries:
                envelope = entry.envelope
                if envelope.get("type") == KeyRevoked.type:
                    self.cut_key(str(envelope["data"].get("key")))

    async def recheck(self, keys: ApiKeys, *, failed: Callable[[Unreachable], None]) -> None:
        """Cut everyone whose key does not open any more, again and again."""
        while True:
            await asyncio.sleep(RECHECK_S)
            known = list(self._by_key)
            try:
                standing = await keys.valid_keys(known)
            except Unreachable as error:
                failed(error)  # they were good when they came; whether they are can be told later
                continue
            for key_id in known:
                if key_id not in standing:
                    self.cut_key(key_id)
            self._forget_revoked()

    def _forget_revoked(self) -> None:
        """Forget revoked keys that nobody has: a check that begins from now on finds them revoked by itself."""
        if not self._checks:
            self._revoked.intersection_update(self._by_key)

    # --- when it is over -------------------------------------------------------------------------------------------

    async def drain(self, limit_s: float) -> None:
        """Ask all to leave and come back somewhat later, each at another time; abort who has not left in time."""
        self.closed = True
        for client in tuple(self.clients):
            if client.health.waiting or client.paused:
                client.transport.abort()  # it takes nothing, so it would not hear either
            elif client.is_open:
                retry_after_s = round(self._random.uniform(0.5, 5.0), 2)
                client.push(text_frame(message("closing", code=int(CloseReason.SHUTDOWN), retry_after_s=retry_after_s)))
                client.cut(CloseReason.SHUTDOWN, reason=f"shutdown, retry after {retry_after_s} s")
        if self.clients:
            self._empty.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await self._empty.wait()
        for client in tuple(self.clients):
            client.transport.abort()

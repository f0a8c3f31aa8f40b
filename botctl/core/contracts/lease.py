"""A lease: the right to do something, held by one process of the bot at a time. See `botctl.stores.leases`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Protocol

RENEWALS: Final = 3  # how often a holder renews within ``ttl_s``
LATE_FACTOR: Final = 1.5  # a holder is overdue after this many renewal intervals


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """The holder of a lease. ``process``: ``host:pid``. ``silent_s``: since its renewal; at ``ttl_s`` it expires."""

    process: str
    silent_s: float
    ttl_s: float

    @property
    def overdue(self) -> bool:
        """Whether its renewal is late (`LATE_FACTOR`)."""
        return self.silent_s > self.ttl_s / RENEWALS * LATE_FACTOR

    @property
    def expired(self) -> bool:
        """Whether another process may take over."""
        return self.silent_s > self.ttl_s


class Lease(Protocol):
    """A lease that this process took. ``fence``, its fencing token, is greater than those of earlier holders.

    The lease can be lost between a check of ``held`` and a write. So a write that needs the lease carries its fence,
    and the store rejects it if it has seen a greater one.
    """

    name: str
    fence: int
    lost: asyncio.Event
    """Set when the lease is lost, before another process can take it. ``lost_reason`` then says why."""
    lost_reason: str

    @property
    def held(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class LeaseWait:
    """What a process waits for: that ``holder`` (``process 4711 on web-1``) releases the lease, or that it expires."""

    holder: str
    left_s: float  # until it expires without a renewal
    has_ended: bool  # the holder is known to have ended, so the lease will expire


OnWait = Callable[[LeaseWait], None]


class Leases(Protocol):
    def lease(
        self, name: str, *, ttl_s: float = 15.0, wait_s: float | None = None, on_wait: OnWait | None = None
    ) -> AbstractAsyncContextManager[Lease]:
        """Hold and renew ``name`` until the block ends, then release it.

        The lease of a process that died expires after its ``ttl_s``. ``wait_s``: how long to wait for the lease; None:
        without limit. ``on_wait`` is called once if that wait takes more than a second. The block is not cancelled when
        the lease is lost: it must watch ``lost``.

        Raises:
            Held: another process held it for ``wait_s``; the sentence names it.
            Unreachable: the store does not answer.
        """
        ...

    async def holder(self, name: str) -> LeaseHolder | None:
        """The holder in the store, which may have died; None when the lease is free. May raise Unreachable."""
        ...

"""A lease: what one process of the bot does at a time, on whatever host. Held by `botctl.stores.leases`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Protocol

RENEWALS: Final = 3  # tries to renew within one ttl
LATE_FACTOR: Final = 1.5  # renewals that one may come too late before its holder is doubted


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """Who holds a lease, for people. ``who``: ``host:pid``. ``silent_s``: since its last sign, by the store's clock."""

    who: str
    silent_s: float
    ttl_s: float

    @property
    def doubtful(self) -> bool:
        """Whether it should have given a sign by now."""
        return self.silent_s > self.ttl_s / RENEWALS * LATE_FACTOR

    @property
    def gone(self) -> bool:
        """Whether it was silent for so long that anybody who waits may take over."""
        return self.silent_s > self.ttl_s


class Lease(Protocol):
    """What this process holds for now. ``fence`` is greater than that of every holder before.

    A write that only the holder may do names its fence, and is refused where a greater one was seen: a process can be
    paused between looking at ``held`` and writing.
    """

    name: str
    fence: int
    lost: asyncio.Event
    """Set when it is no longer held, before anybody else can hold it; then ``why`` says what happened, in words."""
    why: str

    @property
    def held(self) -> bool:
        """Whether it is held at this moment."""
        ...


OnWait = Callable[[str, float], None]
"""Is told who is waited for (``process 4711 on web-1``), and in how many seconds it is succeeded if it has died."""


class Leases(Protocol):
    """What one process of the bot does at a time, on whatever host."""

    def lease(
        self, name: str, *, ttl_s: float = 15.0, wait_s: float | None = None, waits: OnWait | None = None
    ) -> AbstractAsyncContextManager[Lease]:
        """Hold ``name`` until the block ends; then it is free at once. Renewed meanwhile.

        A holder that died is succeeded after its ``ttl_s``. ``wait_s``: how long to wait for it, for ever when None;
        ``waits`` is called once if that takes more than a moment. The block is not ended when the lease is lost: watch
        ``lost``.

        Raises:
            Held: another process holds it, and did for ``wait_s``; the sentence names it.
            Unreachable: the store does not answer.
        """
        ...

    async def holder(self, name: str) -> LeaseHolder | None:
        """Who holds it, as far as the store knows: it may have died. None when it is free.

        Raises:
            Unreachable: the store does not answer.
        """
        ...

"""Which sockets are accepted, before anything is read from them and before any store is asked.

Each accepted socket counts until it is closed, also while it makes its TLS handshake: it has a file descriptor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from botctl.core.contracts.throttle import Limit, Scope, address_subject
from botctl.core.http.proxies import Network, is_trusted
from botctl.realtime.budgets import BEFORE_KEY, Buckets, Refill, TokenBucket, WorkBudget, WorkLimits

_FEWEST_SOCKETS: Final = Refill(50, 500)
"""Sockets that one address may always open: pages need some too, and a request over a limit gets a 429."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections may be open."""

    total: int
    per_key: int
    per_address: int

    @property
    def sockets_per_address(self) -> int:
        """Sockets that one address may open: more than its connections, so that a request too many can get a 429."""
        return self.per_address + max(1, self.per_address // 10)

    @property
    def without_key(self) -> int:
        """How many may be open that have not sent a key (yet): half, so that clients with a key find room."""
        return max(1, self.total // 2)


def sockets_refill(connects: Sequence[Limit]) -> Refill:
    """How many sockets an address may open in a time: twice the connects, and not few."""
    limits = [limit for limit in connects if limit.scope is Scope.ADDRESS]
    return Refill(
        max([_FEWEST_SOCKETS.per_s, *(2 * limit.count / limit.period_s for limit in limits)]),
        max([_FEWEST_SOCKETS.burst, *(2.0 * limit.burst for limit in limits)]),
    )


class SocketAdmission:
    """Admits sockets by the address of the peer. The limits per address are not for trusted proxies.

    ``with_key``: how many connections have a key.
    """

    def __init__(
        self,
        limits: ConnectionLimits,
        sockets: Refill,
        work: WorkLimits,
        *,
        proxies: Sequence[Network],
        time_s: Callable[[], float],
        with_key: Callable[[], int],
    ) -> None:
        self.open = 0
        self.refused = 0
        self.proxies = proxies
        self._limits = limits
        self._work = work
        self._time_s = time_s
        self._with_key = with_key
        self._by_address: Counter[str] = Counter()
        self._sockets = Buckets(sockets)
        self._shared = {False: Buckets(BEFORE_KEY.shared), True: Buckets(work.shared)}

    def accept(self, peer: str) -> bool:
        """Whether to accept a socket of ``peer``; it then counts until `release`."""
        if not self._has_room() or not (self._is_proxy(peer) or self.admit_address(peer)):
            self.refused += 1
            return False
        self.open += 1
        if not self._is_proxy(peer):
            self._by_address[address_subject(peer)] += 1
        return True

    def release(self, peer: str) -> None:
        """Count a socket of ``peer`` no more."""
        self.open -= 1
        if not self._is_proxy(peer):
            subject = address_subject(peer)
            self._by_address[subject] -= 1
            if not self._by_address[subject]:
                del self._by_address[subject]

    def admit_address(self, address: str) -> bool:
        """Whether one more socket of ``address`` is within the limits of the address; it is counted in its rate."""
        subject = address_subject(address)
        if self._by_address[subject] >= self._limits.sockets_per_address:
            return False
        now_s = self._time_s()
        return self._sockets.of(subject, now_s).take(1, now_s)

    def budget(self, address: str, *, has_key: bool) -> WorkBudget:
        """The work that a new connection of ``address`` may cost, or one that now has a key."""
        work = self._work if has_key else BEFORE_KEY
        shared = None if self._is_proxy(address) else self.shared(address, has_key=has_key)
        return WorkBudget(work, shared, self._time_s())

    def shared(self, address: str, *, has_key: bool) -> TokenBucket:
        """The work that all connections of ``address`` together may cost."""
        return self._shared[has_key].of(address_subject(address), self._time_s())

    def _has_room(self) -> bool:
        without_key = self.open - self._with_key()
        return self.open < self._limits.total and without_key < self._limits.without_key

    def _is_proxy(self, address: str) -> bool:
        return bool(self.proxies) and is_trusted(address, self.proxies)

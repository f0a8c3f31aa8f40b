"""The requests that Discord refuses: how many there are, and whether one may be sent again. No I/O.

Discord counts the answers 401, 403 and 429 of an IP address, but not a 429 of the scope ``shared``. After 10,000 of
them in ten minutes Cloudflare bans the address, and with it every bot there (Discord: Rate Limits > Invalid Request
Limit). So a refusal by a limit is not answered by more requests. A guard that stops requests before a ban belongs here.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from botctl.core.contracts.discord_access import INVALID_PERIOD_S, INVALID_WARN_AT, TOKEN_LIFE_S

TOO_MANY: Final = 429
_SLOT_S: Final = 10.0
_STATUSES: Final = frozenset({401, 403, TOO_MANY})
_MAX_TOKENS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of Discord with the status 401, 403 or 429.

    ``scope``: of a 429, as in X-RateLimit-Scope; empty if Discord names none, as Cloudflare. ``retry_after_s``: when
    the request may be sent again. ``token``: of the interaction that the request answered, if it did.
    """

    status: int
    scope: str = ""
    retry_after_s: float = 0.0
    token: str | None = None

    @property
    def is_invalid(self) -> bool:
        """Whether Discord counts it towards a ban."""
        return self.scope != "shared"

    @property
    def kind(self) -> str:
        """``401``, ``403``, ``429`` or ``429 shared``."""
        return str(self.status) if self.is_invalid else f"{self.status} shared"


def is_refusal(status: int) -> bool:
    """Whether an HTTP status is that of a `Refusal`."""
    return status in _STATUSES


def may_repeat(refusal: Refusal, *, repeats: int, recent: int) -> bool:
    """Whether a request may be sent again after the wait that Discord named.

    ``repeats``: how often it was sent again already. ``recent``: invalid requests in the last ten minutes. The answer
    to an interaction is not repeated, unless the limit is shared: such a 429 is not its own fault, and not counted.
    """
    if refusal.status != TOO_MANY or repeats:
        return False
    return not refusal.is_invalid or (refusal.token is None and recent < INVALID_WARN_AT)


class InvalidRequests:
    """Counts the refusals of this process, and remembers the interactions whose last request was refused.

    ``monotonic``: seconds. ``refusals``: since the start, by `Refusal.kind`.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.refusals: Counter[str] = Counter()
        self._monotonic = monotonic
        self._slots: deque[tuple[float, int]] = deque()  # start of each period of `_SLOT_S`, and its invalid requests
        self._refused: dict[str, float] = {}  # by token of an interaction: when it may be used again

    def recent(self) -> int:
        """Invalid requests in the last ten minutes, rounded up to whole slots of ten seconds."""
        oldest = self._monotonic() - INVALID_PERIOD_S - _SLOT_S
        while self._slots and self._slots[0][0] <= oldest:
            self._slots.popleft()
        return sum(count for _, count in self._slots)

    def record(self, refusal: Refusal) -> None:
        """Count ``refusal``."""
        self.refusals[refusal.kind] += 1
        now = self._monotonic()
        if refusal.is_invalid:
            start, count = self._slots[-1] if self._slots else (float("-inf"), 0)
            if now - start < _SLOT_S:
                self._slots[-1] = (start, count + 1)
            else:
                self.recent()  # drops old slots
                self._slots.append((now, 1))
        if refusal.token is not None:
            self._refused.pop(refusal.token, None)
            self._refused[refusal.token] = now + refusal.retry_after_s
            self._forget(now)

    def record_success(self, token: str) -> None:
        """Record that Discord accepted a request of the interaction with ``token``."""
        self._refused.pop(token, None)

    def is_refused(self, token: str) -> bool:
        """Whether the last request of the interaction with ``token`` was refused."""
        return token in self._refused

    def wait_s(self, token: str) -> float:
        """Seconds until Discord takes requests of the interaction with ``token`` again."""
        return max(0.0, self._refused.get(token, 0.0) - self._monotonic())

    def _forget(self, now: float) -> None:
        """Drop tokens that are too old to be used, and the oldest if there are too many."""
        while self._refused:
            token = next(iter(self._refused))
            if len(self._refused) <= _MAX_TOKENS and self._refused[token] > now - TOKEN_LIFE_S:
                return
            del self._refused[token]

"""How Discord has answered the requests of this process lately. No I/O.

Cloudflare, in front of Discord, bans an address with an HTML page instead of an answer (error 1015): no ``Via`` header,
the end in ``Retry-After``. disnake repeats a request that failed with 5xx or 429; each answer counts as what it was.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Final

from botctl.core.clock import Clock
from botctl.core.contracts.health import REQUESTS_S, RequestsSeen

BAN_S: Final = 3600.0
"""How long a ban lasts that names no end."""
_MAX_BAN_S: Final = 86_400.0
_MAX_KEPT: Final = 1024  # answers; more in `REQUESTS_S` say no more
_OK, _LIMITED, _FAILED, _UNREACHABLE = "", "429", "5xx", "unreachable"
_ERROR, _FORBIDDEN, _TOO_MANY, _SERVER_ERROR = 400, 403, 429, 500


class RequestOutcomes:
    """The answers of the last `REQUESTS_S` seconds, and whether the address is banned."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, str]] = deque(maxlen=_MAX_KEPT)  # when, and of which kind
        self._banned_until: datetime | None = None

    def record(self, status: int, headers: Mapping[str, str]) -> None:
        """Record an answer. Every command calls this: it must cost nothing."""
        if status < _ERROR:
            kind, self._banned_until = _OK, None
        elif is_ban(status, headers):
            kind, self._banned_until = _LIMITED, self._clock.now() + timedelta(seconds=_ban_s(headers))
        elif status >= _SERVER_ERROR:
            kind = _FAILED  # it may be of Cloudflare too, so a ban may go on
        else:
            kind, self._banned_until = _LIMITED if status == _TOO_MANY else _OK, None
        self._seen.append((self._clock.monotonic(), kind))

    def record_unreachable(self) -> None:
        """Record that a request got no answer."""
        self._seen.append((self._clock.monotonic(), _UNREACHABLE))

    def seen(self) -> RequestsSeen:
        """What Discord has answered lately."""
        oldest_s = self._clock.monotonic() - REQUESTS_S
        newest = [kind for _, kind in takewhile(lambda answer: answer[0] >= oldest_s, reversed(self._seen))]
        counts = Counter(newest)
        row_kind = newest[0] if newest else _OK
        return RequestsSeen(
            answers=len(newest),
            limited=counts[_LIMITED],
            failed=counts[_FAILED],
            unreachable=counts[_UNREACHABLE],
            row=sum(1 for _ in takewhile(row_kind.__eq__, newest)) if row_kind else 0,
            row_kind=row_kind,
            banned_until=self._banned_until,
        )


def is_ban(status: int, headers: Mapping[str, str]) -> bool:
    """Whether an answer is Cloudflare's, to an address that it refuses. Discord's own have a ``Via`` header or JSON."""
    content = headers.get("Content-Type", "")
    return status in (_FORBIDDEN, _TOO_MANY) and "Via" not in headers and content.lower().startswith("text/html")


def _ban_s(headers: Mapping[str, str]) -> float:
    """Seconds until the ban ends."""
    named = headers.get("Retry-After", "")
    return min(float(named), _MAX_BAN_S) if named.isascii() and named.isdigit() else BAN_S

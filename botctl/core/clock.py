"""The clock as an argument: code that needs the time takes a Clock, so that a test can set the time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    def now(self) -> datetime:
        """The wall clock as an aware datetime in UTC. It jumps when the system's time is set."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back. For durations and deadlines."""
        ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def iso_ms(at: datetime) -> str:
    """``at`` as botctl writes it: ISO 8601, UTC, rounded down to milliseconds, ``2026-01-02T03:04:05.678Z``."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix_ms(at: datetime) -> int:
    """``at`` as whole milliseconds since 1970, rounded down. For Redis and MongoDB, where times are compared."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def from_unix_ms(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)

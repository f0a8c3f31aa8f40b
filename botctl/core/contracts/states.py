"""States: tables by key that the realtime server keeps current for its watchers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

from botctl.core.contracts.permissions import (
    GRANTS_READ,
    JOBS_READ,
    KEYS_READ,
    RATELIMIT_READ,
    SESSIONS_ADMIN,
    STATUS_READ,
)

STATE_PERMISSIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "processes": STATUS_READ,
        "services": STATUS_READ,
        "shards": STATUS_READ,
        "counts": STATUS_READ,
        "jobs": JOBS_READ,
        "limits": RATELIMIT_READ,
        "keys": KEYS_READ,
        "grants": GRANTS_READ,
        "sessions": SESSIONS_ADMIN,
    }
)
"""The permission that each state needs, for the whole bot."""

StateTable = Mapping[str, Mapping[str, Any]]
"""The value of each key: an object of plain JSON values, or lists of them."""
StateTables = Mapping[str, StateTable]
"""Tables by the name of the state."""


class StateSource(Protocol):
    """Reads one or more states, all with one read."""

    @property
    def names(self) -> tuple[str, ...]:
        """The states: keys of `STATE_PERMISSIONS`."""
        ...

    async def read(self) -> StateTables:
        """The tables of all ``names``. Raises Unreachable if the store does not answer."""
        ...


class StateSources(tuple[StateSource, ...]):
    """All sources of a process. No two have a state in common."""

    __slots__ = ()

"""Collections whose writes must survive a power failure."""

from __future__ import annotations

from typing import Any, Final, Protocol, Self, TypeVar

from pymongo import WriteConcern

_JOURNALED: Final = WriteConcern(w="majority", j=True)


class WithOptions(Protocol):
    """A collection that can be had with another write concern."""

    def with_options(self, *, write_concern: Any) -> Self: ...


C = TypeVar("C", bound=WithOptions)


def journaled(collection: C) -> C:
    """``collection``, but a write to it is acknowledged when it is on the disk, of a majority of a replica set.

    Other writes a MongoDB that stands alone may lose for 100 ms. The embedded store calls fsync for each command.
    """
    return collection.with_options(write_concern=_JOURNALED)

"""File descriptors: each connection takes one, and the rest of the process needs some to go on working."""

from __future__ import annotations

import resource
from typing import Final

RESERVE: Final = 200
"""The fewest descriptors that connections leave to the rest: stores, Discord, files, children."""


def raise_descriptor_limit(connections: int) -> int:
    """Raise the process's soft limit as far as ``connections`` need and the hard limit allows; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = needed_descriptors(connections)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return needed
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if wanted > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # a system may have a lower limit of its own
            return soft
    return max(soft, wanted)


def needed_descriptors(connections: int) -> int:
    """The limit with which `usable_connections` is ``connections``."""
    return connections + max(RESERVE, -(-connections // 3))


def usable_connections(connections: int, descriptors: int) -> int:
    """How many of ``connections`` may be open with a limit of ``descriptors``: a quarter is left, or `RESERVE`."""
    return max(1, min(connections, descriptors - max(RESERVE, descriptors // 4)))

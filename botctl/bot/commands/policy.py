"""What a command demands of those who use it."""

from __future__ import annotations

from dataclasses import dataclass

from botctl.core.contracts.throttle import Limit


@dataclass(frozen=True, slots=True)
class CommandPolicy:
    """The limits of one command, and the botctl roles that may use it (empty: everyone)."""

    limits: tuple[Limit, ...] = ()
    roles: tuple[str, ...] = ()

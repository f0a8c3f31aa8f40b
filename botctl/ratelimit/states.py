"""The state ``limits``: every policy with its statistics, as `botctl ratelimit list --json` shows them."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from botctl.core.clock import Clock
from botctl.core.contracts.states import StateTables
from botctl.ratelimit.inspect import Inspector


@dataclass(frozen=True, slots=True)
class LimitStates:
    """A `StateSource`."""

    inspector: Inspector
    clock: Clock
    names: tuple[str, ...] = ("limits",)

    async def read(self) -> StateTables:
        rows = await self.inspector.policies(self.clock.now().timestamp())
        return {"limits": {row.policy: asdict(row) for row in rows}}

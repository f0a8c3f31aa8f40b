"""The state ``jobs``: every job that was ever scheduled and is not removed, as `botctl jobs list --json` shows it."""

from __future__ import annotations

from dataclasses import dataclass

from botctl.core.contracts.jobs import JobStore, record_fields
from botctl.core.contracts.states import StateTable, StateTables


@dataclass(frozen=True, slots=True)
class JobStates:
    """A `StateSource`."""

    store: JobStore
    names: tuple[str, ...] = ("jobs",)

    async def read(self) -> StateTables:
        return {"jobs": await self._jobs()}

    async def _jobs(self) -> StateTable:
        return {
            record.name: {"name": record.name, "schedule": record.schedule, "missed": record.missed}
            | record_fields(record)
            for record in await self.store.all()
            if record.removed is None
        }

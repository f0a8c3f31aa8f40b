"""The states of processes, services, shards and commands, from the snapshots: what `botctl monitor --json` shows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Final

from redis.asyncio import Redis

from botctl.core.clock import Clock
from botctl.core.contracts.states import StateTables
from botctl.core.driver_errors.redis import reaching_redis
from botctl.monitor.reader import read_reports
from botctl.monitor.roles import read_roles
from botctl.monitor.view import MonitorView, combine_reports

_reaching_redis: Final = reaching_redis("The snapshots of the processes cannot be read: Redis fails ({error}).")


@dataclass(frozen=True, slots=True)
class MonitorStates:
    """A `StateSource`."""

    redis: Redis
    bot: str
    clock: Clock
    expected: Collection[str] = ()  # the roles of the setting ``health.roles``
    names: tuple[str, ...] = ("processes", "services", "shards", "counts")

    async def read(self) -> StateTables:
        with _reaching_redis:
            reports = await read_reports(self.redis, self.bot)
            roles = await read_roles(self.redis, self.bot, reports, self.expected)
        return state_tables(combine_reports(self.bot, reports, self.clock.now(), roles=roles))


def state_tables(view: MonitorView) -> StateTables:
    """The parts of ``view``; a service or shard by ``<its process>/<its name or number>``, the totals as ``bot``.

    The verdict is with the totals: ``health``, a `Diagnosis`; ``troubles``: all sentences, none if all is well.
    """
    return {
        "processes": {process.proc: asdict(process) for process in view.processes},
        "services": {f"{service.proc}/{service.name}": asdict(service) for service in view.services},
        "shards": {f"{shard.proc}/{shard.id}": asdict(shard) for shard in view.shards},
        "counts": {"bot": asdict(view.totals) | {"health": asdict(view.health), "troubles": view.troubles}},
    }

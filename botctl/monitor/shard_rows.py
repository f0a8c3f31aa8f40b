"""The shards of a bot, from the snapshots of its processes. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Final

from botctl.core.contracts.discord_access import GUILDS_PER_SHARD, GUILDS_WARN_AT
from botctl.monitor.snapshot import Snapshot

_WELL: Final = ("ready", "resumed", "connected")  # the last two: as older versions of botctl wrote


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRow:
    """A shard and the process that has it, as in `ShardSnapshot`."""

    proc: str
    id: int
    state: str
    latency_ms: float | None
    since: str | None = None  # when it became ready, or no longer was
    guilds: int = 0
    last_event_at: str | None = None
    last_close: str | None = None  # the code and why
    last_close_at: str | None = None
    session_started_at: str | None = None

    @property
    def well(self) -> bool:
        return self.state in _WELL


def shard_rows(snapshots: Iterable[Snapshot]) -> tuple[ShardRow, ...]:
    """All shards, in order."""
    rows = [ShardRow(proc=snapshot.proc, **asdict(shard)) for snapshot in snapshots for shard in snapshot.shards]
    return tuple(sorted(rows, key=lambda shard: (shard.id, shard.proc)))


def shard_troubles(shards: Iterable[ShardRow]) -> Iterator[str]:
    """Shards that have lost their connection, and those that are nearly full."""
    for shard in shards:
        name = f"shard {shard.id} of {shard.proc}"
        if not shard.well and (shard.last_close or shard.state == "disconnected"):
            since = f" since {shard.since}" if shard.since else ""
            why = f": {shard.last_close}" if shard.last_close else ""
            yield f"{name} has no connection{since} ({shard.state}){why}"
        if shard.guilds >= GUILDS_WARN_AT:
            yield f"{name} has {shard.guilds:,} guilds, and Discord refuses one with more than {GUILDS_PER_SHARD:,}"

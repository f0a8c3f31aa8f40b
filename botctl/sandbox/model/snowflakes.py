"""What an id contains: its time, and for a guild its shard (Discord: Reference > Snowflakes)."""

from __future__ import annotations

from datetime import datetime

_EPOCH_MS = 1_420_070_400_000  # ids count from here: 2015, in Unix time


def smallest_at(moment: datetime) -> int:
    """The smallest id of that millisecond."""
    return (int(moment.timestamp() * 1000) - _EPOCH_MS) << 22


def created_s(snowflake: str) -> float:
    """The Unix time of an id, in seconds."""
    return ((int(snowflake) >> 22) + _EPOCH_MS) / 1000


def is_in_shard(guild_id: str, shard: tuple[int, int]) -> bool:
    """Whether the guild is in the shard ``(number, count)`` (Discord: Gateway > Sharding)."""
    shard_number, count = shard
    return (int(guild_id) >> 22) % count == shard_number

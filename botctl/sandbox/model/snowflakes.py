"""What an id says: when it was made, and in which shard a guild is (Discord: Reference > Snowflakes)."""

from __future__ import annotations

from datetime import datetime

_EPOCH_MS = 1_420_070_400_000


def smallest_at(moment: datetime) -> int:
    """The least id of the millisecond ``at``."""
    return (int(moment.timestamp() * 1000) - _EPOCH_MS) << 22


def created_s(snowflake: str) -> float:
    """When an id was made: Unix time in seconds."""
    return ((int(snowflake) >> 22) + _EPOCH_MS) / 1000


def is_in_shard(guild_id: str, shard: tuple[int, int]) -> bool:
    """Is the guild in the shard ``(number, count)`` (Discord: Gateway > Sharding)?"""
    shard_number, count = shard
    return (int(guild_id) >> 22) % count == shard_number

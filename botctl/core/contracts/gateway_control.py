"""What `botctl gateway restart` asks of the process that has the gateway."""

from __future__ import annotations

from typing import Protocol


class GatewayControl(Protocol):
    """The shards of a bot, for who operates it."""

    @property
    def shard_ids(self) -> tuple[int, ...]:
        """The shards of this process."""
        ...

    async def reconnect(self, shard: int, *, fresh: bool) -> None:
        """Close the connection of ``shard``, which then opens another one.

        Waits until the old one is closed, which may take seconds on a dead network, but not until the new one is open.
        The shard resumes its session, which misses no event and costs no login; ``fresh``: it logs in.
        """
        ...

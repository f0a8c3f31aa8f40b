"""disnake's client for shards, with `Shards` in the place of disnake's own runner."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from disnake.ext import commands

from botctl.bot.gateway.shards import Shards


class ShardedClient(commands.AutoShardedInteractionBot, commands.InteractionBot):  # type: ignore[misc]  # as in disnake
    """A client of one or many shards. It is an ``InteractionBot`` too, as authors' code expects.

    ``make_shards`` gets the client, and returns its shards: ``gateway``.
    """

    def __init__(self, make_shards: Callable[[Any], Shards], **options: Any) -> None:
        self.gateway = make_shards(self)  # before super().__init__, which calls _get_state
        super().__init__(**options)
        self.add_listener(self._announce_ready, "on_ready")

    async def connect(self, **_: Any) -> None:
        """Run all shards until the client is closed. They always reconnect, and the gate decides about logins."""
        await self.gateway.run()

    async def close(self, *, keep_sessions: bool = False) -> None:
        """Close the connections and the session for requests. ``keep_sessions``: as `Shards.close`."""
        await self.gateway.close(keep_sessions=keep_sessions)
        if self._connection._ready_task is not None:  # noqa: SLF001  else it would wait for guilds
            self._connection._ready_task.cancel()  # noqa: SLF001
        await super().close()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:  # noqa: ARG002
        """Wait for the turn of a login. disnake calls this before each IDENTIFY, so that none passes the gate by."""
        await self.gateway.enter_gate(shard_id or 0)

    @property
    def latency(self) -> float:
        """Seconds from a heartbeat to its answer, the mean of the shards that have one; else infinity or NaN."""
        known = [latency_s for _, latency_s in self.latencies if math.isfinite(latency_s)]
        return sum(known) / len(known) if known else super().latency

    async def _announce_ready(self) -> None:
        self.gateway.announce_ready()

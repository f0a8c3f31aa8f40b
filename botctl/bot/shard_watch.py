"""Say what is wrong with the shards while the bot runs: in the service's state, and once in the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, Final

import aiohttp
import disnake

from botctl.bot.gateway.shard_rules import gateway_problem
from botctl.bot.registration import Problems
from botctl.bot.sharded_client import ShardedClient

LOOK_S: Final = 5.0
ASK_EVERY_S: Final = 3600.0
_CHANGES: Final = ("shard_connect", "shard_resumed", "shard_disconnect")
_log = logging.getLogger(__name__)


class ShardWatch:
    """Watches the shards of ``bot``. ``notice``: that there will be too few of them; empty while there are enough."""

    def __init__(self, bot: ShardedClient, problems: Problems) -> None:
        self.notice = ""
        self._bot = bot
        self._problems = problems
        for change in _CHANGES:
            bot.add_listener(self._on_change, f"on_{change}")

    async def run(self) -> None:
        """Look again and again, and ask Discord for its recommendation every `ASK_EVERY_S`. Never returns."""
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)
            if loop.time() - asked_s >= ASK_EVERY_S:
                asked_s = loop.time()
                await self.ask()

    def look(self) -> None:
        """Report that no shard is connected, and log a new notice."""
        gateway = self._bot.gateway
        self._problems.report("gateway", gateway_problem(gateway.statuses()))
        notice = gateway.notice()
        if notice and not self.notice:
            _log.warning("%s", notice)
        self.notice = notice

    async def ask(self) -> None:
        """Ask Discord for its recommendation, if it answers."""
        with contextlib.suppress(disnake.DiscordException, aiohttp.ClientError, OSError, TimeoutError):
            await self._bot.gateway.ask()

    async def _on_change(self, *_: Any) -> None:
        self.look()

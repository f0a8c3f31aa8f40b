"""A bot of 16 shards for bench/shards.py: ``python bench/sharded_bot.py URL botctl|bare GUILDS``.

It prints one line of JSON when it is ready and knows all guilds: the seconds from its login, and the megabytes by which
it has grown. The bot of botctl is its client without its stores; it writes the guilds into the files of its sessions.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import disnake
import psutil
from disnake.ext import commands

SHARDS = 16
READY_S = 0.1  # as botctl waits for another guild of the sandbox


class BareBot(commands.AutoShardedInteractionBot):
    """disnake alone, without its pause of 5 s between two shards: the sandbox needs none here."""

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None: ...


def botctl_bot(folder: Path) -> Any:
    """The client of botctl, with its sessions in ``folder``; nothing else in it is called before the first command."""
    from bench.sharded_botctl import make_bot  # noqa: PLC0415  the bare bot is measured without botctl's modules

    return make_bot(SHARDS, folder, guild_ready_timeout=READY_S)


async def main(url: str, kind: str, guilds: int, folder: Path) -> None:
    disnake.http.Route.BASE = f"{url}/api/v10"
    bot = botctl_bot(folder) if kind == "botctl" else BareBot(shard_count=SHARDS, guild_ready_timeout=READY_S)
    process = psutil.Process()
    gc.collect()
    before, began_s, cpu_began_s = process.memory_info().rss, time.perf_counter(), time.process_time()
    running = asyncio.create_task(bot.start(os.environ["BOTCTL_SANDBOX_TOKEN"]))
    await bot.wait_until_ready()
    while sum(not guild.unavailable for guild in bot.guilds) < guilds:  # noqa: ASYNC110  disnake can be ready before
        await asyncio.sleep(0.01)
    ready_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_began_s
    gc.collect()
    grown = process.memory_info().rss - before
    print(
        json.dumps({"ready_s": ready_s, "cpu_s": cpu_s, "grown_mb": grown / 1e6, "rss_mb": (before + grown) / 1e6}),
        flush=True,
    )
    await bot.close()
    await asyncio.wait({running})


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="botctl-bench-") as state:
        asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(state)))

"""16 shards: until they are ready, against bare disnake's; and CPU time per command, against one shard.

The bots take turns. READY of bare disnake is without its pause of 5 s between two shards, which would be 75 s.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from functools import partial
from pathlib import Path

import aiohttp

from bench.ping import BOTCTL, BenchProject
from bench.rounds import Threshold, interleave, report
from bench.sandbox import HERE, Server, run_child
from botctl.core.processes.runtime import Runtime

GUILDS, SHARDS = 4000, 16
PATIENCE_S = 60  # on a loaded machine, an answer may take more than Discord's 3 s
READY = [
    Threshold("botctl", "bare disnake", "ready_s", 1.1),
    Threshold("botctl", "bare disnake", "grown_mb", 1.1),
]
COMMANDS = [Threshold("16 shards", "1 shard", "cpu_ms", 1.05)]


def ready(kind: str) -> dict[str, float]:
    """Measure the seconds and megabytes until a bot of 16 shards knows 4,000 guilds."""
    with Server.running(GUILDS, 1) as server:
        line = run_child(sys.executable, str(HERE / "sharded_bot.py"), server.url, kind, str(GUILDS))
    measured: dict[str, float] = json.loads(line)
    return measured


def commands(project: BenchProject, shards: int) -> dict[str, float]:
    """Measure /ping in guilds of all shards."""
    return project.botctl("--only", "bot", BOTCTL_DISCORD__SHARDS=str(shards))


async def add_guilds(url: str, secret: str) -> list[str | None]:
    """Add a guild for each shard; return their ids."""
    ids = [str((SHARDS + number) << 22) for number in range(SHARDS)]
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {secret}"}) as http:
        for guild in ids:
            body = {"add_guild": {"name": f"Guild {guild}", "id": guild}}
            async with http.post(f"{url}/_control/world", json=body) as response:
                response.raise_for_status()
    return list(ids)


def measure_ready(rounds: int) -> bool:
    contenders = {"bare disnake": partial(ready, "bare"), "botctl": partial(ready, "botctl")}
    return report("shards_ready", interleave(contenders, rounds), READY, guilds=GUILDS, shards=SHARDS)


def measure_commands(rounds: int) -> bool:
    with tempfile.TemporaryDirectory(prefix="botctl-bench-") as folder:
        project = BenchProject(Path(folder) / "shards")
        limits = {"MAX_CONCURRENCY": SHARDS, "RESPONSE_S": PATIENCE_S}
        project.env |= {f"BOTCTL_SANDBOX__LIMITS__{name}": str(value) for name, value in limits.items()}
        with project.process(str(BOTCTL), "run", "--only", "stores", until="project"):
            sandbox = Runtime(project.root).live()["sandbox"]
            project.guilds = asyncio.run(add_guilds(sandbox.address, sandbox.secret or ""))
            counts = {"1 shard": 1, "16 shards": SHARDS}
            contenders = {name: partial(commands, project, count) for name, count in counts.items()}
            measured = interleave(contenders, rounds)
    return report("shards_commands", measured, COMMANDS, shards=SHARDS)


def main(rounds: int = 7) -> bool:
    """Measure; return whether every threshold holds."""
    passed = [measure_ready(rounds), measure_commands(rounds)]
    return all(passed)


if __name__ == "__main__":
    sys.exit(not main())

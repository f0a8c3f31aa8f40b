"""Neither commands nor the health checks leave anything in the memory of a bot."""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Final

import psutil
import pytest

from botctl.core.processes.runtime import Runtime
from botctl.sandbox.console.client import Identity, SandboxClient
from botctl.sandbox.console.command_parser import SlashCall
from tests.support.cli import READY, Project
from tests.support.waiting import LIMIT_S

ROOT: Final = Path(__file__).parents[2]
QUICK: Final = (sys.executable, "-m", "tests.support.quick_run")
COMMANDS: Final = int(os.environ.get("BOTCTL_TEST_MEMORY_COMMANDS", "200000"))
"""Seven minutes on an idle machine."""
STEPS: Final = 100
OUTSTANDING: Final = 20
MAX_BYTES: Final = 10.0
"""Of the slope, per command. Single pages and the arenas of malloc make less; one leaked object makes 50 or more."""
COMMAND = '''
from botctl import Command, Context


class Steady(Command):
    """May be called all the time."""

    throttle = "1000000/1s per user, 1000000/1s per guild"

    async def execute(self, ctx: Context) -> None:
        await ctx.reply("Here")
'''


def slope(sizes: list[tuple[int, int]]) -> float:
    """Bytes per command: the median slope of all pairs (Theil and Sen), which a single jump does not change."""
    return median((size - was) / (at - before) for (before, was), (at, size) in combinations(sizes, 2))


async def use(people: SandboxClient, count: int) -> int:
    """Run a closed loop of ``count`` commands; returns how many were answered."""
    remaining = iter(range(count))

    async def person() -> int:
        answered = 0
        for _ in remaining:
            answered += (await people.send(SlashCall("steady", {}), Identity(), timeout_s=LIMIT_S)).answered
        return answered

    return sum(await asyncio.gather(*(person() for _ in range(OUTSTANDING))))


@pytest.mark.soak
async def test_memory_does_not_grow_with_commands(tmp_path: Path) -> None:
    """All roles, and the intervals of the health checks 1:20: 20 times as many snapshots, looks, pings and questions.

    The second half counts: caches and rings are full then, the last one (`arrivals.RecentIds`) after 65,536 commands.
    """
    project = Project(tmp_path / "bot")
    project.write("commands/steady.py", COMMAND)
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with project.process("run", until=READY, command=QUICK, PYTHONPATH=path) as process:
        part, bot = Runtime(project.root).live()["sandbox"], psutil.Process(process.pid)
        sizes, answered = [], 0
        async with SandboxClient(part.address, part.secret or "") as people:
            for step in range(1, STEPS + 1):
                answered += await use(people, COMMANDS // STEPS)
                sizes.append((step * COMMANDS // STEPS, bot.memory_info().rss))
    found = slope(sizes[STEPS // 2 :])
    print(f"{found:.1f} bytes per command; MB: {[round(size / 1e6, 1) for _, size in sizes[::10]]}")  # noqa: T201
    assert answered >= COMMANDS * 0.95
    assert found <= MAX_BYTES, f"{found:.1f} bytes per command: {sizes}"

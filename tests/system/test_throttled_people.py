"""The limits of a real bot with the real limiter, and what users are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from redis.asyncio import Redis

from botctl.bot.loader import load
from botctl.core.config.settings import Settings
from botctl.core.contracts.protocols import Limiter
from botctl.ratelimit.limiter import RedisLimiter
from tests.support.bots import ROLES, Rig, last_text, rig, validation_context, write_commands
from tests.support.stores import tasks_for

COMMANDS = Path(__file__).parents[2] / "commands"
DAILY = '''
from botctl import Command, Context

class Daily(Command):
    """Once a day."""
    throttle = "1/1d per user"

    async def execute(self, ctx: Context) -> None:
        await ctx.reply("For today.")
'''


@asynccontextmanager
async def limited(redis: Redis, commands: Path) -> AsyncIterator[Rig]:
    """Run a bot with ``commands`` whose limits are counted in ``redis``."""
    async with (
        tasks_for("limits") as (tasks, _),
        RedisLimiter(redis, "bot", tasks).running() as limiter,
        rig(load(commands, validation_context()), settings=Settings(roles=ROLES), values={Limiter: limiter}) as bot,
    ):
        yield bot


async def test_sixth_roll_is_throttled_with_the_time_to_wait(redis: Redis, tmp_path: Path) -> None:
    """`5/10s per user`: five at once, then one every 2 s. Other users are not affected."""
    (tmp_path / "roll.py").write_text((COMMANDS / "roll.py").read_text())
    async with limited(redis, tmp_path) as bot:
        began = asyncio.get_running_loop().time()
        texts = [
            last_text(reply) for reply in await asyncio.gather(*(bot.run_command("roll", user="bob") for _ in range(6)))
        ]
        took_s = asyncio.get_running_loop().time() - began
        assert 5 <= sum("rolled" in text for text in texts) <= 5 + took_s // 2  # a slow machine gives some back
        refused = {text for text in texts if "rolled" not in text}
        left_s = (2,) if took_s < 1 else (1, 2)
        assert took_s >= 2 or len(refused) == 1
        assert refused <= {f"Not so fast: try again in {seconds} s." for seconds in left_s}
        assert "rolled" in last_text(await bot.run_command("roll", user="ann"))
        assert bot.results.count("throttled") == sum("rolled" not in text for text in texts)


async def test_long_wait_is_shown_as_a_discord_timestamp(redis: Redis, tmp_path: Path) -> None:
    write_commands(tmp_path, daily=DAILY)
    async with limited(redis, tmp_path) as bot:
        assert last_text(await bot.run_command("daily")) == "For today."
        before, _, after = last_text(await bot.run_command("daily")).partition("<t:")
        at = datetime.fromtimestamp(int(after.removesuffix(":R>.")), UTC)
        assert before == "Not so fast: try again "
        assert timedelta(hours=23, minutes=58) < at - datetime.now(UTC) <= timedelta(hours=24, seconds=1)

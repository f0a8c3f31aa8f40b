"""The limits of a real bot, with the real limiter: how many /roll in ten seconds, and what the person is told."""

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
from tests.support.bots import ROLES, Rig, rig, text, validation_context, write
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
    """A bot with ``commands``, whose limits are counted in ``redis``."""
    async with (
        tasks_for("limits") as (tasks, _),
        RedisLimiter(redis, "bot", tasks).running() as limiter,
        rig(load(commands, validation_context()), settings=Settings(roles=ROLES), values={Limiter: limiter}) as bot,
    ):
        yield bot


async def test_the_sixth_roll_in_a_row_is_refused_and_says_when(redis: Redis, tmp_path: Path) -> None:
    """`5/10s per user`: five at once, then one each 2 s. Another person is not concerned."""
    (tmp_path / "roll.py").write_text((COMMANDS / "roll.py").read_text())
    async with limited(redis, tmp_path) as bot:
        began = asyncio.get_running_loop().time()
        said = [text(reply) for reply in await asyncio.gather(*(bot.say("roll", who="bob") for _ in range(6)))]
        took_s = asyncio.get_running_loop().time() - began
        assert 5 <= sum("rolled" in each for each in said) <= 5 + took_s // 2  # a slow machine gives some back
        assert took_s >= 2 or {"Not so fast: try again in 2 s."} == {each for each in said if "rolled" not in each}
        assert "rolled" in text(await bot.say("roll", who="ann"))
        assert bot.results.count("throttled") == sum("rolled" not in each for each in said)


async def test_a_long_wait_is_told_as_a_moment_in_the_persons_own_words(redis: Redis, tmp_path: Path) -> None:
    """Discord shows ``<t:…:R>`` as "in 24 hours"; the sentence around it is in the person's language."""
    write(tmp_path, daily=DAILY)
    async with limited(redis, tmp_path) as bot:
        assert text(await bot.say("daily")) == "For today."
        before, _, after = text(await bot.say("daily")).partition("<t:")
        at = datetime.fromtimestamp(int(after.removesuffix(":R>.")), UTC)
        assert before == "Not so fast: try again "
        assert timedelta(hours=23, minutes=58) < at - datetime.now(UTC) <= timedelta(hours=24, seconds=1)

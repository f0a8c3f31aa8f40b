"""Files for the projects of tests."""

SLOW = '''
import asyncio
from pathlib import Path

from botctl import Command, Context

HERE = Path(__file__).parent.parent


class Slow(Command):
    """Wait until a file appears."""

    defer = "public"

    async def execute(self, ctx: Context) -> None:
        (HERE / "entered").touch()
        while not (HERE / "finish").exists():
            await asyncio.sleep(0.01)
        await ctx.reply("done at last")


class Stuck(Command):
    """Never end."""

    defer = "public"

    async def execute(self, ctx: Context) -> None:
        (HERE / "entered").touch()
        await asyncio.Event().wait()


class Wrong(Command):
    """Raise."""

    async def execute(self, ctx: Context) -> None:
        raise RuntimeError("the handler's own secret sauce")
'''

DISCORD_URL_MODULE = """
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import disnake

disnake.http.Route.BASE = "{url}/api/v10"


class DiscordUrl:
    pass


@asynccontextmanager
async def discord_url() -> AsyncIterator[DiscordUrl]:
    yield DiscordUrl()
"""

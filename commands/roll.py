import random

import disnake
from disnake.ext import commands

from botctl import Command, Context, component

TEXTS = {
    "en": "\N{GAME DIE} {user} rolled **{number}** of {sides}.",
    "de": "\N{GAME DIE} {user} würfelt **{number}** von {sides}.",
}
AGAIN = {"en": "Again", "de": "Noch einmal"}


class Roll(Command):
    """Roll a die."""

    throttle = "5/10s per user, 50/1m per guild"

    async def execute(self, ctx: Context, sides: commands.Range[int, 2, 1000] = 6) -> None:
        await self.roll(ctx, sides)

    @component("again")
    async def again(self, ctx: Context, sides: str) -> None:
        await self.roll(ctx, int(sides))

    async def roll(self, ctx: Context, sides: int) -> None:
        number = random.randint(1, sides)
        # The custom id contains all that the button needs, so it still works after a restart.
        button = disnake.ui.Button(label=ctx.pick(AGAIN), custom_id=self.custom_id("again", sides))
        await ctx.reply(
            ctx.pick(TEXTS).format(user=ctx.user.display_name, number=number, sides=sides), components=[button]
        )

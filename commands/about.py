from datetime import timedelta

import disnake

import botctl
from botctl import Command, Context

WORDS = {
    "en": {"text": "A bot run by botctl {version}.", "servers": "Servers", "up": "Up for"},
    "de": {"text": "Ein Bot, betrieben mit botctl {version}.", "servers": "Server", "up": "Läuft seit"},
}


class About(Command):
    """What this bot is."""

    async def execute(self, ctx: Context) -> None:
        words = WORDS.get(ctx.locale[:2], WORDS["en"])
        embed = disnake.Embed(
            title=ctx.bot.user.name,
            description=words["text"].format(version=botctl.__version__),
            colour=disnake.Colour.blurple(),
        )
        embed.add_field(words["servers"], str(len(ctx.bot.guilds)))
        embed.add_field(words["up"], str(timedelta(seconds=round(ctx.bot.uptime_s))))
        await ctx.reply(embed=embed)

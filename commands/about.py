from datetime import timedelta

import disnake

import botctl
from botctl import Command, Context

TEXTS = {
    "en": {"text": "A bot run by botctl {version}.", "servers": "Servers", "up": "Up for"},
    "de": {"text": "Ein Bot, betrieben mit botctl {version}.", "servers": "Server", "up": "Läuft seit"},
}


class About(Command):
    """Show what this bot is."""

    async def execute(self, ctx: Context) -> None:
        texts = TEXTS.get(ctx.locale[:2], TEXTS["en"])
        embed = disnake.Embed(
            title=ctx.bot.user.name,
            description=texts["text"].format(version=botctl.__version__),
            colour=disnake.Colour.blurple(),
        )
        embed.add_field(texts["servers"], str(len(ctx.bot.guilds)))
        embed.add_field(texts["up"], str(timedelta(seconds=round(ctx.bot.uptime_s))))
        await ctx.reply(embed=embed)

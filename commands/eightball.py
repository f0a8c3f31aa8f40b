"""A plain disnake cog without botctl. It is measured, limited and audited all the same."""

import random

import disnake
from disnake.ext import commands

ANSWERS = ["It is certain.", "Ask again later.", "My sources say no.", "Without a doubt.", "Very doubtful."]


class EightBall(commands.Cog):
    def __init__(self, bot: commands.InteractionBot) -> None:
        self.bot = bot

    @commands.slash_command(name="8ball")
    async def eight_ball(self, inter: disnake.ApplicationCommandInteraction, question: str) -> None:
        """Ask the magic ball.

        Parameters
        ----------
        question: What do you want to know?
        """
        await inter.response.send_message(f"> {question}\n{random.choice(ANSWERS)}")


def setup(bot: commands.InteractionBot) -> None:
    bot.add_cog(EightBall(bot))

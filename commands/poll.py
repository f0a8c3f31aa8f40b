from collections import Counter

import disnake
from disnake.ext import commands
from redis.asyncio import Redis

from botctl import Command, Context, Settings, UsageError, component

VOTES_TTL_S = 30 * 24 * 3600
MAX_ANSWERS = 5
MAX_LABEL = 80  # Discord: Components > Button
BAR_LENGTH = 12


class Poll(Command):
    """Ask a question; everyone has one vote."""

    guild_only = True

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self.redis = redis
        self.bot = settings.bot

    async def execute(
        self,
        ctx: Context,
        question: commands.String[str, 1, 200],
        answers: commands.String[str, 1, 400] = "Yes, No",
    ) -> None:
        """
        Parameters
        ----------
        question: What do you want to know?
        answers: Two to five answers, separated by commas
        """
        labels = list(dict.fromkeys(filter(None, (answer.strip() for answer in answers.split(",")))))
        if not 1 < len(labels) <= MAX_ANSWERS or max(map(len, labels)) > MAX_LABEL:
            raise UsageError(f"a poll has 2 to {MAX_ANSWERS} answers, of at most {MAX_LABEL} characters each.")
        buttons = [
            disnake.ui.Button(label=label, custom_id=self.custom_id("vote", ctx.inter.id, n))
            for n, label in enumerate(labels)
        ]
        await ctx.reply(embed=chart(question, labels, Counter()), components=buttons)

    @component("vote")
    async def vote(self, ctx: Context, poll: str, choice: str) -> None:
        key = f"botctl:{{{self.bot}}}:poll:{poll}"
        await self.redis.hset(key, str(ctx.user.id), choice)  # one field per user: a second vote replaces the first
        await self.redis.expire(key, VOTES_TTL_S)
        votes = Counter(int(vote) for vote in await self.redis.hvals(key))
        labels = [button.label for row in ctx.message.components for button in row.children]
        await ctx.edit(embed=chart(ctx.message.embeds[0].title, labels, votes))


def chart(question: str, labels: list[str], votes: Counter[int]) -> disnake.Embed:
    """Show the question, with a bar for each answer."""
    embed = disnake.Embed(title=question, colour=disnake.Colour.blurple())
    for n, label in enumerate(labels):
        filled = round(BAR_LENGTH * votes[n] / votes.total()) if votes else 0
        embed.add_field(f"{label}: {votes[n]}", "█" * filled + "░" * (BAR_LENGTH - filled), inline=False)
    return embed

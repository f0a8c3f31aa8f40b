from botctl import Command, Context

WORDS = {
    "en": "Pong! The gateway answers in {ms} ms.",
    "de": "Pong! Das Gateway antwortet in {ms} ms.",
}


class Ping(Command):
    """Is the bot there, and how quickly?"""

    async def execute(self, ctx: Context) -> None:
        latency_s = ctx.bot.latency
        known = 0 <= latency_s < float("inf")  # not a number until the first heartbeat
        await ctx.reply(ctx.pick(WORDS).format(ms=round(latency_s * 1000) if known else "?"))

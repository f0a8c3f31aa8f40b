from botctl import Command, Context

TEXTS = {
    "en": "Pong! The gateway answers in {ms} ms.",
    "de": "Pong! Das Gateway antwortet in {ms} ms.",
}


class Ping(Command):
    """Check that the bot answers, and how fast."""

    async def execute(self, ctx: Context) -> None:
        latency_s = ctx.bot.latency
        known = 0 <= latency_s < float("inf")  # NaN until the first heartbeat
        await ctx.reply(ctx.pick(TEXTS).format(ms=round(latency_s * 1000) if known else "?"))

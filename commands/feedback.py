import disnake

from botctl import Command, Context, GuildSettingsStore, modal

from ._log_channel import post

TEXTS = {
    "title": {"en": "Feedback", "de": "Rückmeldung"},
    "label": {"en": "What should we know?", "de": "Was sollten wir wissen?"},
    "thanks": {"en": "Thank you! The staff will read it.", "de": "Danke! Das Team liest es."},
}


class Feedback(Command):
    """Send feedback to the staff."""

    throttle = "3/1m per user"
    guild_only = True

    def __init__(self, guilds: GuildSettingsStore) -> None:
        self.guilds = guilds

    async def execute(self, ctx: Context) -> None:
        field = disnake.ui.TextInput(custom_id="text", style=disnake.TextInputStyle.long, max_length=1000)
        label = disnake.ui.Label(ctx.pick(TEXTS["label"]), field)
        await ctx.ask(self.custom_id("form"), title=ctx.pick(TEXTS["title"]), components=[label])

    @modal("form")
    async def received(self, ctx: Context) -> None:
        embed = disnake.Embed(title="Feedback", description=ctx.fields["text"])
        embed.set_author(name=ctx.user.display_name)
        await post(ctx.bot, self.guilds, ctx.guild, embed)
        await ctx.reply(ctx.pick(TEXTS["thanks"]), ephemeral=True)

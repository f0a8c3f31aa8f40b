import disnake

from botctl import Context, UserCommand

TEXTS = {
    "en": {"known": "On Discord since", "here": "Here since", "roles": "Roles"},
    "de": {"known": "Bei Discord seit", "here": "Hier seit", "roles": "Rollen"},
}


class WhoIs(UserCommand):
    """A command in the menu of every user, under Apps."""

    name = "Who is"

    async def execute(self, ctx: Context, user: disnake.User | disnake.Member) -> None:
        texts = TEXTS.get(ctx.locale[:2], TEXTS["en"])
        embed = disnake.Embed(title=user.display_name, colour=user.colour)
        embed.set_thumbnail(user.display_avatar.url)
        embed.add_field(texts["known"], disnake.utils.format_dt(user.created_at, "D"))
        if isinstance(user, disnake.Member) and user.joined_at:
            embed.add_field(texts["here"], disnake.utils.format_dt(user.joined_at, "D"))
            embed.add_field(texts["roles"], ", ".join(role.mention for role in user.roles[1:]) or "-", inline=False)
        await ctx.reply(embed=embed, ephemeral=True)

"""A bot of Py-cord; only Discord's address is changed."""

import datetime as dt

import discord
from reporting import TOKEN, URL, report

discord.http.Route.API_BASE_URL = URL + "/api/v{API_VERSION}"
intents = discord.Intents(guilds=True, members=True, guild_messages=True, guild_reactions=True, message_content=True)
bot = discord.Bot(intents=intents)


class More(discord.ui.View):
    @discord.ui.button(label="More", custom_id="more")
    async def more(self, _: discord.ui.Button, interaction: discord.Interaction) -> None:
        await interaction.response.edit_message(content="more tea", view=None)


@bot.slash_command()
async def ask(ctx: discord.ApplicationContext, text: str) -> None:
    """Ask"""
    await ctx.defer()
    await ctx.interaction.edit_original_response(content=text, view=More())
    await ctx.followup.send("later", ephemeral=True)


@bot.event
async def on_ready() -> None:
    listed = await bot.http.get_global_commands(bot.user.id)
    report("ready", members=len(bot.guilds[0].members), commands=[command["name"] for command in listed])


@bot.event
async def on_message(message: discord.Message) -> None:
    if message.author.bot or not message.content:
        return
    await message.add_reaction("👍")
    thread = await message.create_thread(name="About it")
    await thread.send("in it", file=discord.File(__file__))
    await message.author.timeout_for(dt.timedelta(seconds=60))
    report("message", content=message.content, thread=thread.name)


@bot.event
async def on_resumed() -> None:
    report("resumed")


bot.run(TOKEN)

"""A bot of discord.py; only Discord's address is changed."""

import discord
import yarl
from reporting import TOKEN, URL, report

discord.http.Route.BASE = f"{URL}/api/v10"
discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(URL.replace("http", "ws", 1))
intents = discord.Intents(guilds=True, members=True, guild_messages=True, guild_reactions=True, message_content=True)
client = discord.Client(intents=intents)
tree = discord.app_commands.CommandTree(client)


class More(discord.ui.View):
    @discord.ui.button(label="More", custom_id="more")
    async def more(self, interaction: discord.Interaction, _: discord.ui.Button) -> None:
        await interaction.response.edit_message(content="more tea", view=None)


@tree.command()
async def ask(interaction: discord.Interaction, text: str) -> None:
    """Ask"""
    await interaction.response.defer()
    await interaction.edit_original_response(content=text, view=More())
    later = await interaction.followup.send("later", ephemeral=True, wait=True)
    await later.edit(content="later still")


@client.event
async def on_ready() -> None:
    listed = await tree.sync()
    report("ready", members=len(client.guilds[0].members), commands=[command.name for command in listed])


@client.event
async def on_message(message: discord.Message) -> None:
    if message.author.bot or not message.content:
        return
    await message.add_reaction("👍")
    thread = await message.create_thread(name="About it")
    await thread.send("in it", file=discord.File(__file__))
    await message.author.timeout(discord.utils.utcnow() + discord.utils.datetime.timedelta(seconds=60))
    report("message", content=message.content, thread=thread.name)


@client.event
async def on_resumed() -> None:
    report("resumed")


client.run(TOKEN, log_handler=None)

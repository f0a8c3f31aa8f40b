"""A bot of interactions.py; only Discord's address is changed."""

import interactions
from interactions.api.events import MessageCreate, Resume, Startup
from reporting import TOKEN, URL, report

interactions.api.http.route.Route.BASE = f"{URL}/api/v10"
Intents = interactions.Intents
intents = Intents.GUILDS | Intents.GUILD_MEMBERS | Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT
bot = interactions.Client(token=TOKEN, intents=intents | Intents.GUILD_MESSAGE_REACTIONS)


@interactions.slash_command("ask", description="Ask")
@interactions.slash_option("text", "Text", interactions.OptionType.STRING, required=True)
async def ask(ctx: interactions.SlashContext, text: str) -> None:
    await ctx.defer()
    button = interactions.Button(style=interactions.ButtonStyle.PRIMARY, label="More", custom_id="more")
    await ctx.edit(content=text, components=button)
    await ctx.send("later", ephemeral=True)


@interactions.component_callback("more")
async def more(ctx: interactions.ComponentContext) -> None:
    await ctx.edit_origin(content="more tea", components=[])


@interactions.listen(Startup)
async def on_startup(_: Startup) -> None:
    guild = bot.guilds[0]
    await guild.gateway_chunk(presences=False)
    listed = await bot.http.get_application_commands(bot.app.id, 0)
    report("ready", members=len(guild.members), commands=[command["name"] for command in listed])


@interactions.listen(MessageCreate)
async def on_message(event: MessageCreate) -> None:
    message = event.message
    if message.author.bot or not message.content:
        return
    await message.add_reaction("👍")
    thread = await message.create_thread("About it")
    await thread.send("in it", file=interactions.File(__file__))
    report("message", content=message.content, thread=thread.name)


@interactions.listen(Resume)
async def on_resume(_: Resume) -> None:
    report("resumed")


bot.start()

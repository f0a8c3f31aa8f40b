"""A bot of hikari; only Discord's address is changed."""

import datetime as dt

import hikari
from reporting import TOKEN, URL, report

intents = (
    hikari.Intents.GUILDS
    | hikari.Intents.GUILD_MEMBERS
    | hikari.Intents.GUILD_MESSAGES
    | hikari.Intents.GUILD_MESSAGE_REACTIONS
    | hikari.Intents.MESSAGE_CONTENT
)
bot = hikari.GatewayBot(TOKEN, intents=intents, rest_url=f"{URL}/api/v10", banner=None, logs=None)


@bot.listen()
async def on_started(_: hikari.StartedEvent) -> None:
    me = bot.get_me()
    builder = bot.rest.slash_command_builder("ask", "Ask")
    builder.add_option(
        hikari.CommandOption(type=hikari.OptionType.STRING, name="text", description="Text", is_required=True)
    )
    listed = await bot.rest.set_application_commands(me.id, [builder])
    guild = next(iter([guild async for guild in bot.rest.fetch_my_guilds()]))
    members = await bot.rest.fetch_members(guild.id)
    report("ready", members=len(members), commands=[command.name for command in listed])


@bot.listen()
async def on_interaction(event: hikari.InteractionCreateEvent) -> None:
    interaction = event.interaction
    if isinstance(interaction, hikari.CommandInteraction):
        await interaction.create_initial_response(hikari.ResponseType.DEFERRED_MESSAGE_CREATE)
        row = bot.rest.build_message_action_row()
        row.add_interactive_button(hikari.ButtonStyle.PRIMARY, "more", label="More")
        await interaction.edit_initial_response(interaction.options[0].value, component=row)
        await interaction.execute("later", flags=hikari.MessageFlag.EPHEMERAL)
    elif isinstance(interaction, hikari.ComponentInteraction):
        await interaction.create_initial_response(hikari.ResponseType.MESSAGE_UPDATE, "more tea", components=[])


@bot.listen()
async def on_message(event: hikari.GuildMessageCreateEvent) -> None:
    if event.is_bot or not event.content:
        return
    await event.message.add_reaction("👍")
    thread = await bot.rest.create_message_thread(event.channel_id, event.message_id, "About it")
    await thread.send("in it", attachment=hikari.Bytes(b"abc", "a.txt"))
    until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=60)
    await event.member.edit(communication_disabled_until=until)
    report("message", content=event.content, thread=thread.name)


@bot.listen()
async def on_resumed(_: hikari.ShardResumedEvent) -> None:
    report("resumed")


bot.run(check_for_updates=False)

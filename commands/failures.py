import disnake

from botctl import Bot, CommandFinished, GuildSettingsStore, on

from ._log_channel import post


@on(CommandFinished)
async def report_failure(event: CommandFinished, bot: Bot, guilds: GuildSettingsStore) -> None:
    """Post failed commands to the guild's log channel (set it with /settings)."""
    if event.result == "failed":
        embed = disnake.Embed(title=f"/{event.name} failed", colour=disnake.Colour.red())
        embed.add_field("Error id", f"`{event.error_id}`")
        embed.add_field("User", f"<@{event.user}>")
        await post(bot, guilds, event.guild, embed)

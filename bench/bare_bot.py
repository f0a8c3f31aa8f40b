"""The baseline of bench/ping.py: disnake alone, with the same handler and sandbox. ``python bench/bare_bot.py URL``."""

import asyncio
import os
import sys

import disnake
from disnake.ext import commands


def main() -> None:
    disnake.http.Route.BASE = f"{sys.argv[1]}/api/v10"

    async def serve() -> None:
        bot = commands.InteractionBot(guild_ready_timeout=0.1)

        @bot.slash_command(name="ping", description="Is the bot there?")
        async def ping(inter: disnake.ApplicationCommandInteraction) -> None:
            await inter.response.send_message("Pong!")

        @bot.event
        async def on_ready() -> None:
            print("ready", flush=True)

        await bot.start(os.environ["BOTCTL_SANDBOX_TOKEN"])

    asyncio.run(serve())


if __name__ == "__main__":
    main()

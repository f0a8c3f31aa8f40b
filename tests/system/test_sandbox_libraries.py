"""Bots of other Python libraries, with only Discord's address changed."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from botctl.sandbox.model.tokens import bot_token
from tests.support.bot_output import BotOutput
from tests.support.discord import BOT, Discord, local_discord
from tests.support.environments import python
from tests.support.waiting import LIMIT_S, until

SCRIPTS = Path(__file__).parents[1] / "support" / "libraries"
LIBRARIES = {
    "discord_py": "discord.py==2.7.1",
    "pycord": "py-cord==2.8.1",
    "hikari_bot": "hikari==2.7.0",
    "interactions_bot": "discord-py-interactions==5.16.0",
}


@contextlib.asynccontextmanager
async def bot(discord: Discord, name: str) -> AsyncIterator[BotOutput]:
    """Start the bot's process and kill it at the end."""
    program = await asyncio.to_thread(python, LIBRARIES[name])
    token = bot_token("secret")  # hikari reads the application's id out of it
    discord.sandbox.access.tokens[token] = BOT
    running = await asyncio.create_subprocess_exec(
        program,
        SCRIPTS / f"{name}.py",
        discord.url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "TOKEN": token},
    )
    try:
        yield BotOutput(running, LIMIT_S)
    finally:
        running.kill()
        await running.communicate()


async def _said(discord: Discord, text: str) -> bool:
    return any(message["content"].startswith(text) for message in (await discord.look("messages"))["messages"])


@pytest.mark.soak
@pytest.mark.parametrize("name", LIBRARIES)
async def test_bot_of_another_library_works_unchanged(name: str) -> None:
    async with local_discord() as discord, bot(discord, name) as events:
        assert await events("ready") == {"members": 4, "commands": ["ask"]}
        asked = await discord.slash("ask", text="tea")
        assert asked["messages"][0]["content"] == "tea"
        # The ephemeral follow-up comes after the buttons: before it, a library may not know them.
        await until(lambda: _said(discord, "later"), what="the ephemeral follow-up")
        clicked = await discord.act("click", component="more", timeout_s=LIMIT_S)
        assert clicked["messages"][0]["content"] == "more tea"
        await discord.act("send", content="good morning", **{"as": "bob"})
        assert await events("message") == {"content": "good morning", "thread": "About it"}
        await discord.act("gateway", action="reconnect")
        assert await events("resumed") == {}

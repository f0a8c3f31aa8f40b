"""A discord.js bot, with only its base URL changed."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.support import npm
from tests.support.bot_output import BotOutput
from tests.support.discord import BOT, TOKEN, Discord, local_discord
from tests.support.waiting import LIMIT_S

FOLDER = Path(__file__).parents[1] / "support" / "discordjs"


@contextlib.asynccontextmanager
async def bot(discord: Discord) -> AsyncIterator[BotOutput]:
    """Start the bot; stop it by a signal and expect exit code 0."""
    running = await asyncio.create_subprocess_exec(
        "node",
        str(FOLDER / "bot.js"),
        discord.url,
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "TOKEN": TOKEN},
    )
    try:
        yield BotOutput(running, LIMIT_S)
        running.terminate()
        assert await asyncio.wait_for(running.wait(), LIMIT_S) == 0
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


async def test_discord_js_bot_works_unchanged() -> None:
    await asyncio.to_thread(npm.install, FOLDER, "discord.js", skip="discordjs")
    async with local_discord() as discord, bot(discord) as events:
        ready = await events("ready")
        assert ready == {"name": "botctl-bot", "commands": ["ask", "Greet"], "members": 4, "own": ["Changed"]}
        await _interactions(discord, events)
        await _messages(discord, events)
        await discord.act("gateway", action="reconnect")
        assert await events("resumed") == {}


async def _interactions(discord: Discord, events: BotOutput) -> None:
    found = await discord.act("complete", name="ask", focused="text", value="o")
    assert found["choices"] == [{"name": "One", "value": "one"}]
    reply = await discord.slash("ask", text="tea", who="bob")
    assert _content(reply) == "tea for bob"
    assert (await events("slash"))["files"] == 1
    form = await discord.act("click", component="more", timeout_s=LIMIT_S)
    assert form["state"] == "modal", form
    assert await events("button") == {"id": "more"}
    assert _content(await discord.act("submit", fields={"why": "it rains"})) == "because it rains"
    assert await events("modal") == {"why": "it rains"}
    await discord.act("send", type="user", name="Greet", target="cat")
    assert (await events("menu"))["target"] == "cat"


def _content(reply: dict[str, Any]) -> str:
    return str(reply["messages"][0]["content"])


async def _messages(discord: Discord, events: BotOutput) -> None:
    """The bot reacts to a message of bob and then moderates."""
    await discord.act("send", content="good morning", **{"as": "bob"})
    assert await events("reaction") == {"emoji": "👍", "user": BOT}
    moderated = await events("moderated")
    assert moderated == {"user": "bob", "until": True, "bans": 1, "invite": 1, "last": "spam"}
    said = await events("message")
    assert said.pop("listed") == 4
    assert said == {"content": "good morning", "member": "Quiet Bob", "pinned": 1, "thread": "About it"}

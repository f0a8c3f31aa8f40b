"""The example bot's own commands, as people use them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest_asyncio
from redis.asyncio import Redis

from botctl.bot.loader import load
from botctl.core.config.settings import Settings
from botctl.sandbox.console.client import Identity
from tests.support.bots import GUILD, ROLES, Rig, rig, shared_loop, text, validation_context

COMMANDS = Path(__file__).parents[2] / "commands"


class FakeRedis:
    """The three calls that /poll makes."""

    def __init__(self) -> None:
        self.hashes: dict[str, dict[str, bytes]] = defaultdict(dict)

    async def hset(self, key: str, field: str, value: str) -> None:
        self.hashes[key][field] = value.encode()

    async def expire(self, key: str, seconds: int) -> None:
        assert key in self.hashes

    async def hvals(self, key: str) -> list[bytes]:
        return list(self.hashes[key].values())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bot():
    values: dict[Any, Any] = {Redis: FakeRedis()}
    async with rig(load(COMMANDS, validation_context()), settings=Settings(roles=ROLES), values=values) as running:
        yield running


@shared_loop
async def test_ping_and_about_speak_the_guilds_language(bot: Rig):
    """The guild's locale setting has an effect on what commands say."""
    assert text(await bot.say("ping")).startswith("Pong! The gateway")
    bot.guilds.settings.clear()
    await bot.say("settings set", {"setting": "locale", "value": "de"})
    assert text(await bot.say("ping")).startswith("Pong! Das Gateway")
    assert (await bot.say("about")).messages[0].embeds[0]["fields"][0]["name"] == "Server"
    await bot.say("settings reset", {"setting": "locale"})
    assert bot.guilds.settings[GUILD].locale is None


@shared_loop
async def test_roll_can_be_rolled_again(bot: Rig):
    """The button carries the number of sides."""
    assert "of 20" in text(await bot.say("roll", {"sides": "20"}))
    assert "of 20" in text(await bot.click("Again", who="bob"))
    assert "Bob" in text(await bot.click("Again", who="bob"))


@shared_loop
async def test_a_poll_counts_one_vote_each(bot: Rig):
    """Who votes again changes the vote; the chart is redrawn in the message."""
    await bot.say("poll", {"question": "Tea?", "answers": "Yes, No, Later"})
    await bot.click("Yes")
    await bot.click("No")
    reply = await bot.click("No", who="bob")
    fields = [field["name"] for field in reply.messages[-1].embeds[0]["fields"]]
    assert fields == ["Yes: 0", "No: 2", "Later: 0"]
    assert "2 to 5 answers" in text(await bot.say("poll", {"question": "Tea?", "answers": "Yes"}))


@shared_loop
async def test_feedback_goes_to_the_log_channel(bot: Rig):
    """The form's text is posted where the guild keeps its log, and the person is thanked."""
    channel = next(c for c in bot.sandbox.world.guilds[GUILD].channels.values() if c.name != "general")
    await bot.say("settings set", {"setting": "log_channel", "value": channel.id})
    assert (await bot.say("feedback", who="cat")).state == "modal"
    assert "Thank you" in text(await bot.submit({"text": "more tea"}, who="cat"))
    posted = await bot.people.messages(Identity("ann", channel.name))
    assert posted[-1].embeds[0]["description"] == "more tea"


@shared_loop
async def test_settings_are_for_admins_and_refuse_what_makes_no_sense(bot: Rig):
    """cat is denied; a wrong locale is told in a sentence; /settings shows what holds."""
    assert "admin" in text(await bot.say("settings show", who="cat"))
    assert "not a locale" in text(await bot.say("settings set", {"setting": "locale", "value": "klingon"}))
    await bot.say("settings set", {"setting": "disabled", "value": "roll"})
    assert "switched off" in text(await bot.say("roll"))
    shown = (await bot.say("settings show")).messages[-1]
    assert {field["name"]: field["value"] for field in shown.embeds[0]["fields"]}["disabled"] == "roll"
    assert "misspelt" not in text(await bot.say("settings set", {"setting": "disabled", "value": "+ops"}))
    assert "misspelt?: rol\n" in text(await bot.say("settings set", {"setting": "disabled", "value": "+rol"})) + "\n"
    await bot.say("settings reset", {"setting": "disabled"})
    assert "of 6" in text(await bot.say("roll"))


@shared_loop
async def test_ops_status_shows_the_services_to_staff(bot: Rig):
    """bob, a moderator, sees that all is well; cat sees nothing."""
    embed = (await bot.say("ops status", who="bob")).messages[-1].embeds[0]
    assert embed["title"] == "All is well"
    assert any("bot" in field["name"] for field in embed["fields"])
    assert "moderator" in text(await bot.say("ops status", who="cat"))


@shared_loop
async def test_who_is_and_the_plain_cog(bot: Rig):
    """A user command, and an ordinary disnake cog beside it."""
    assert (await bot.menu("Who is", "@bob")).messages[-1].embeds[0]["title"] == "Bob"
    assert text(await bot.say("8ball", {"question": "Tea?"})).startswith("> Tea?")
    assert bot.auditor.entries[-1].action == "command.8ball"

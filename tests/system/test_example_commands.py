"""The commands of the example bot, against the sandbox."""

from __future__ import annotations

import runpy
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from botctl.bot.loader import load
from botctl.core.config.settings import Settings
from botctl.core.contracts.health import ALL_IS_WELL, HealthSource
from botctl.core.contracts.service_state import ServiceHealth, ServiceState, ServiceStatus
from botctl.sandbox.console.client import Identity
from tests.support.bots import GUILD, ROLES, Rig, last_text, rig, shared_loop, validation_context
from tests.support.health import DEAF, FakeHealth

COMMANDS = Path(__file__).parents[2] / "commands"


class FakeRedis:
    """The three Redis calls of /poll."""

    def __init__(self) -> None:
        self.hashes: dict[str, dict[str, bytes]] = defaultdict(dict)

    async def hset(self, key: str, field: str, value: str) -> None:
        self.hashes[key][field] = value.encode()

    async def expire(self, key: str, seconds: int) -> None:
        assert key in self.hashes

    async def hvals(self, key: str) -> list[bytes]:
        return list(self.hashes[key].values())


@pytest.fixture(scope="module")
def health() -> FakeHealth:
    return FakeHealth()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bot(health: FakeHealth):
    values: dict[Any, Any] = {Redis: FakeRedis(), HealthSource: health}
    async with rig(load(COMMANDS, validation_context()), settings=Settings(roles=ROLES), values=values) as running:
        yield running


@shared_loop
async def test_ping_and_about_use_the_locale_of_the_guild(bot: Rig):
    assert last_text(await bot.run_command("ping")).startswith("Pong! The gateway")
    bot.guilds.settings.clear()
    await bot.run_command("settings set", {"setting": "locale", "value": "de"})
    assert last_text(await bot.run_command("ping")).startswith("Pong! Das Gateway")
    assert (await bot.run_command("about")).messages[0].embeds[0]["fields"][0]["name"] == "Server"
    await bot.run_command("settings reset", {"setting": "locale"})
    assert bot.guilds.settings[GUILD].locale is None


@shared_loop
async def test_roll_again_button_keeps_the_sides(bot: Rig):
    assert "of 20" in last_text(await bot.run_command("roll", {"sides": "20"}))
    assert "of 20" in last_text(await bot.click("Again", user="bob"))
    assert "Bob" in last_text(await bot.click("Again", user="bob"))


@shared_loop
async def test_poll_counts_one_vote_per_user(bot: Rig):
    await bot.run_command("poll", {"question": "Tea?", "answers": "Yes, No, Later"})
    await bot.click("Yes")
    await bot.click("No")
    reply = await bot.click("No", user="bob")
    fields = [field["name"] for field in reply.messages[-1].embeds[0]["fields"]]
    assert fields == ["Yes: 0", "No: 2", "Later: 0"]
    assert "2 to 5 answers" in last_text(await bot.run_command("poll", {"question": "Tea?", "answers": "Yes"}))


@shared_loop
async def test_feedback_is_posted_to_the_log_channel(bot: Rig):
    channel = next(c for c in bot.sandbox.world.guilds[GUILD].channels.values() if c.name != "general")
    await bot.run_command("settings set", {"setting": "log_channel", "value": channel.id})
    assert (await bot.run_command("feedback", user="cat")).state == "modal"
    assert "Thank you" in last_text(await bot.submit({"text": "more tea"}, user="cat"))
    posted = await bot.client.messages(Identity("ann", channel.name))
    assert posted[-1].embeds[0]["description"] == "more tea"


@shared_loop
async def test_settings_require_admin_and_reject_invalid_values(bot: Rig):
    assert "admin" in last_text(await bot.run_command("settings show", user="cat"))
    assert "not a locale" in last_text(await bot.run_command("settings set", {"setting": "locale", "value": "klingon"}))
    await bot.run_command("settings set", {"setting": "disabled", "value": "roll"})
    assert "switched off" in last_text(await bot.run_command("roll"))
    shown = (await bot.run_command("settings show")).messages[-1]
    assert {field["name"]: field["value"] for field in shown.embeds[0]["fields"]}["disabled"] == "roll"
    assert "misspelt" not in last_text(await bot.run_command("settings set", {"setting": "disabled", "value": "+ops"}))
    assert (
        "misspelt? rol\n"
        in last_text(await bot.run_command("settings set", {"setting": "disabled", "value": "+rol"})) + "\n"
    )
    await bot.run_command("settings reset", {"setting": "disabled"})
    assert "of 6" in last_text(await bot.run_command("roll"))


@shared_loop
async def test_ops_why_tells_everyone_about_themselves(bot: Rig):
    yes = last_text(await bot.run_command("ops why", {"what": "/ops status"}, user="bob"))
    assert "You may use ops status" in yes
    assert "yes: moderator to user" in yes
    no = last_text(await bot.run_command("ops why", {"what": "ops status"}, user="cat"))
    assert "You may not use ops status" in no
    assert "botctl auth grant" in no
    assert "did you mean ops status" in last_text(await bot.run_command("ops why", {"what": "ops stats"}, user="cat"))


@pytest.mark.parametrize("count", [3, 25, 26, 200])
def test_status_of_many_services_fits_into_a_message(count: int) -> None:
    """Discord: Embed Limits: 25 fields, 6,000 characters. What is not well is always shown."""
    names = [f"service-{number}" for number in range(count)]
    statuses = [ServiceStatus(name, ServiceState.READY, 0.1, "", 0) for name in names]
    health = [ServiceHealth(name, name != names[-1], 1.0, "latency 3 ms" * 40) for name in names]
    ops = runpy.run_path(str(COMMANDS / "ops.py"))
    embed = ops["describe_verdict"](replace(DEAF, why="w" * 5000, action="a" * 5000))
    ops["add_services"](embed, statuses, health)
    assert embed.title == "Deaf"
    assert embed.fields[0].name == f"\N{LARGE RED CIRCLE} {names[-1]}"
    assert len(embed.fields) <= 25
    assert len(embed) <= 6000
    assert all(len(field.value) <= 1024 for field in embed.fields)


@shared_loop
async def test_ops_status_shows_services_to_moderators_only(bot: Rig):
    embed = (await bot.run_command("ops status", user="bob")).messages[-1].embeds[0]
    assert (embed["title"], embed["description"]) == ("Healthy", "all is well")
    assert any("bot" in field["name"] for field in embed["fields"])
    assert "moderator" in last_text(await bot.run_command("ops status", user="cat"))


@shared_loop
async def test_ops_status_begins_with_the_verdict_and_what_to_do(bot: Rig, health: FakeHealth):
    health.bot = DEAF
    embed = (await bot.run_command("ops status", user="bob")).messages[-1].embeds[0]
    health.bot = ALL_IS_WELL
    assert embed["title"] == "Deaf"
    assert embed["description"].splitlines() == [DEAF.why, f"**What to do:** {DEAF.action}"]


@shared_loop
async def test_user_command_and_plain_cog_are_answered(bot: Rig):
    assert (await bot.menu("Who is", "@bob")).messages[-1].embeds[0]["title"] == "Bob"
    assert last_text(await bot.run_command("8ball", {"question": "Tea?"})).startswith("> Tea?")
    assert bot.auditor.entries[-1].action == "command.8ball"

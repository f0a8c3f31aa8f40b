"""A bot that starts again resumes the sessions of the process before it, with disnake's cache as after a login."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from botctl.bot.gateway.session_file import session_path
from botctl.bot.gateway.session_mirror import SessionMirror
from botctl.bot.gateway.stored_sessions import StoredSessions
from botctl.core.clock import SystemClock
from botctl.core.config.settings import DiscordSettings, Settings
from botctl.core.contracts.events import GatewayChanged
from botctl.sandbox.model.gateway.session import LoginResult
from tests.support.bots import GUILD, ROLES, Rig, last_text, rig, write_commands
from tests.support.discord import Discord, local_discord
from tests.support.disnake_cache import cache_of
from tests.support.waiting import until

COMMANDS = """
    import disnake
    from disnake.ext import commands

    from botctl import Command, Context

    HEARD = []

    class Where(Command):
        "Where is this?"
        async def execute(self, ctx: Context) -> None:
            guild, channel = ctx.inter.guild, ctx.inter.channel
            await ctx.reply(f"{guild.name}, {channel.name}, {guild.me.display_name}; {' '.join(HEARD)}")
            HEARD.clear()

    class Ears(commands.Cog):
        @commands.Cog.listener()
        async def on_ready(self):
            HEARD.append("ready")

        @commands.Cog.listener()
        async def on_guild_join(self, guild):
            HEARD.append("join")

        @commands.Cog.listener()
        async def on_guild_available(self, guild):
            HEARD.append("available")

        @commands.Cog.listener()
        async def on_guild_channel_create(self, channel):
            HEARD.append(channel.name)
"""


@dataclass
class Restarts:
    """Bots one after the other at one sandbox."""

    discord: Discord
    folder: Path
    redis: Redis

    @asynccontextmanager
    async def bot(self, *, folder: str = "state", stores: bool = True, **discord: Any) -> AsyncIterator[Rig]:
        """A bot with this state ``folder``. Without ``stores``, it keeps no sessions, and logs in."""
        settings = Settings(roles=ROLES, discord=DiscordSettings(**discord))
        mirror = SessionMirror(self.redis)
        sessions = StoredSessions(self.folder / folder, settings, self.discord.url, SystemClock(), mirror)
        values: dict[type, Any] = {StoredSessions: sessions} if stores else {}
        commands = write_commands(self.folder / "commands", where=COMMANDS)
        async with rig(commands, settings=settings, discord=self.discord.running, values=values) as bot:
            yield bot
        await sessions.write_mirror()
        sessions.close()

    @property
    def logins(self) -> list[str]:
        return [str(login.result) for login in self.discord.sandbox.sessions.logins]


@pytest.fixture
async def restarts(tmp_path: Path, redis: Redis) -> AsyncIterator[Restarts]:
    async with local_discord() as discord:
        yield Restarts(discord, tmp_path, redis)


async def where(bot: Rig) -> str:
    return last_text(await bot.run_command("where"))


async def test_restart_resumes_and_replays_what_came_meanwhile(restarts: Restarts) -> None:
    """In its order, each event once. The new process is ready, and its commands know where they are."""
    async with restarts.bot() as first:
        assert await where(first) == "Botctl Test Guild, general, botctl-bot; available ready"
    for name in ("one", "two", "three"):
        await restarts.discord.act("world", add_channel={"name": name})
    async with restarts.bot() as second:
        place, heard = (await where(second)).split("; ")
        assert place == "Botctl Test Guild, general, botctl-bot"
        words = heard.split()
        assert [word for word in words if word not in ("available", "ready")] == ["one", "two", "three"]
        assert sorted(set(words) - {"one", "two", "three"}) == ["available", "ready"]
        assert [event.state for event in second.events if isinstance(event, GatewayChanged)] == ["resumed"]
    assert restarts.logins == [LoginResult.IDENTIFIED, LoginResult.RESUMED]


SHARDS: dict[str, Any] = {"shards": "2", "intents": ("default", "members")}
OTHER = str((int(GUILD) >> 22) + 1 << 22)
"""A guild of the other shard."""


async def change_everything(discord: Discord) -> None:
    """Changes of all that the sandbox has of a guild, on two shards; as the bot's requests and as other people's."""
    rest = discord.rest
    await discord.act("world", add_guild={"name": "Second", "id": OTHER})
    await discord.act("world", add_role={"guild": OTHER, "name": "chief", "permissions": 1 << 3})  # administrator
    await discord.act("world", give_role={"guild": OTHER, "member": "botctl-bot", "role": "chief"})
    for guild in (GUILD, OTHER):
        _, channel = await rest("POST", f"/guilds/{guild}/channels", json={"name": "new", "type": 0})
        _, gone = await rest("POST", f"/guilds/{guild}/channels", json={"name": "gone", "type": 0})
        _, category = await rest("POST", f"/guilds/{guild}/channels", json={"name": "group", "type": 4})
        _, thread = await rest("POST", f"/channels/{channel['id']}/threads", json={"name": "thread", "type": 11})
        _, closed = await rest("POST", f"/channels/{channel['id']}/threads", json={"name": "closed", "type": 11})
        done = [
            await rest("PATCH", f"/channels/{channel['id']}", json={"topic": "what", "parent_id": category["id"]}),
            await rest("DELETE", f"/channels/{gone['id']}"),
            await rest("PATCH", f"/channels/{thread['id']}", json={"name": "renamed"}),
            await rest("DELETE", f"/channels/{thread['id']}/thread-members/@me"),
            await rest("PUT", f"/channels/{thread['id']}/thread-members/@me"),
            await rest("PATCH", f"/channels/{closed['id']}", json={"archived": True}),
            await rest("PATCH", f"/guilds/{guild}/members/@me", json={"nick": "nick"}),
            await rest("PATCH", f"/guilds/{guild}", json={"name": f"Renamed {guild}"}),
        ]
        for name in ("event", "no event"):
            event = EVENT | {"name": name}
            done.append(await rest("POST", f"/guilds/{guild}/scheduled-events", json=event))
        done.append(await rest("PATCH", f"/guilds/{guild}/scheduled-events/{done[-2][1]['id']}", json={"status": 2}))
        done.append(await rest("DELETE", f"/guilds/{guild}/scheduled-events/{done[-2][1]['id']}"))
        assert [answer for answer in done if answer[0] not in (200, 201, 204)] == []
    _, role = await rest("POST", f"/guilds/{GUILD}/roles", json={"name": "new role"})
    _, lost = await rest("POST", f"/guilds/{GUILD}/roles", json={"name": "lost role"})
    assert (await rest("PATCH", f"/guilds/{GUILD}/roles/{role['id']}", json={"color": 255}))[0] == 200
    assert (await rest("DELETE", f"/guilds/{GUILD}/roles/{lost['id']}"))[0] == 204
    await discord.act("world", set_overwrite={"channel": "general", "role": "everyone", "deny": ["EMBED_LINKS"]})


EVENT = {
    "privacy_level": 2,
    "entity_type": 3,
    "entity_metadata": {"location": "here"},
    "scheduled_start_time": "2099-01-01T00:00:00+00:00",
    "scheduled_end_time": "2099-01-02T00:00:00+00:00",
}


AS_WHILE_IT_RUNS = r"_large|_roles/\d+/position|user_count|_threads"
"""Differs from a login in any disnake that hears of the changes: it counts roles itself, and keeps closed threads."""


@pytest.mark.parametrize("when", ["while it runs", "while it is away"])
async def test_cache_is_as_after_a_login(restarts: Restarts, when: str) -> None:
    """All of it: whatever disnake keeps of its guilds, on two shards, with the intent `members`."""
    async with restarts.bot(**SHARDS) as first:
        await where(first)
        if when == "while it runs":
            await change_everything(restarts.discord)
            await until(lambda: len(first.service.bot.guilds) == 2)
    if when == "while it is away":
        await change_everything(restarts.discord)
    async with restarts.bot(**SHARDS) as second:
        await where(second)
        resumed = cache_of(second.service.bot)
    async with restarts.bot(stores=False, **SHARDS) as other:
        await where(other)
        known = cache_of(other.service.bot)
    differing = [path for path in known.keys() | resumed.keys() if known.get(path) != resumed.get(path)]
    allowed = "last_message_id" if when == "while it runs" else f"last_message_id|{AS_WHILE_IT_RUNS}"
    assert [path for path in differing if not re.search(allowed, path)] == []
    assert Counter(restarts.logins) == {LoginResult.IDENTIFIED: 4, LoginResult.RESUMED: 2}
    assert len(resumed) > 500


async def test_second_restart_resumes_too(restarts: Restarts) -> None:
    """What the first resumed process has stored goes on."""
    for number in range(3):
        async with restarts.bot() as bot:
            await where(bot)
            await restarts.discord.act("world", add_channel={"name": f"c{number}"})
            await until(lambda name=f"c{number}": bot.service.bot.guilds[0].text_channels[-1].name == name)
    assert Counter(restarts.logins) == {LoginResult.IDENTIFIED: 1, LoginResult.RESUMED: 2}


Change = Callable[[Restarts], Awaitable[object]]


async def forget_sessions(restarts: Restarts) -> None:
    restarts.discord.sandbox.sessions.by_id.clear()


async def wait_too_long(restarts: Restarts) -> None:
    await restarts.discord.act("clock", advance_s=181)


async def damage_file(restarts: Restarts) -> None:
    await restarts.redis.flushdb()
    session_path(restarts.folder / "state", 0).write_bytes(b"botctlg2 and then nothing")


@pytest.mark.parametrize("change", [forget_sessions, wait_too_long])
async def test_session_that_discord_has_not_costs_one_login(restarts: Restarts, change: Change) -> None:
    async with restarts.bot() as first:
        await where(first)
    await change(restarts)
    async with restarts.bot() as second:
        assert (await where(second)).startswith("Botctl Test Guild, general, botctl-bot; available ready")
    assert restarts.logins == [LoginResult.IDENTIFIED, LoginResult.NOT_RESUMED, LoginResult.IDENTIFIED]


async def test_session_that_does_not_fit_is_not_tried(restarts: Restarts) -> None:
    """A damaged file, other intents, another number of shards, and a person who wants a login."""
    changes: list[dict[str, Any]] = [{}, {"intents": "guilds"}, {"intents": "guilds", "shards": "2"}, {"resume": False}]
    async with restarts.bot() as first:
        await where(first)
    await damage_file(restarts)
    for change in changes:
        async with restarts.bot(**change) as bot:
            await where(bot)
    assert Counter(restarts.logins) == {LoginResult.IDENTIFIED: 6}


async def test_redis_has_the_session_where_the_folder_is_new(restarts: Restarts) -> None:
    """As in a container. Its guilds are there too."""
    async with restarts.bot(folder="first") as first:
        await where(first)
    async with restarts.bot(folder="second") as second:
        assert (await where(second)).startswith("Botctl Test Guild, general, botctl-bot")
    assert restarts.logins == [LoginResult.IDENTIFIED, LoginResult.RESUMED]


async def test_nothing_of_the_token_is_stored(restarts: Restarts) -> None:
    async with restarts.bot() as bot:
        await where(bot)
    files = [path for path in (restarts.folder / "state").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"shard-0"}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    assert all(b"sandbox-token" not in path.read_bytes() for path in files)
    assert json.dumps(restarts.logins)

"""The doctor's own client against a real sandbox: what it gets, and that it sends each request once."""

import asyncio

from botctl.core.clock import SystemClock
from botctl.core.contracts.discord_access import DiscordAccess
from botctl.doctor.discord import application_flags, assess_logins, assess_token
from botctl.doctor.discord_api import discord_reader
from botctl.doctor.discord_probe import listed_rights, read_guilds, read_rights
from botctl.doctor.finding import Mark
from botctl.doctor.permission_names import names_in
from botctl.sandbox.model.permission_bits import BITS
from botctl.sandbox.model.world import Overwrite
from tests.support.bots import new_sandbox
from tests.support.discord import ADMIN, BOT, GENERAL, GUILD, TOKEN, served


async def test_answers_of_a_sandbox():
    async with served(new_sandbox) as discord, discord_reader(DiscordAccess(TOKEN, discord.url)) as reader:
        me = await reader.get("/users/@me")
        assert assess_token(me, sandbox=True).mark is Mark.OK
        assert me.body["id"] == BOT
        assert me.date
        gateway = await reader.get("/gateway/bot")
        found = assess_logins(gateway, shards=None, now=SystemClock().now(), sandbox=True)
        assert [finding.mark for finding in found] == [Mark.OK, Mark.OK]
        assert application_flags(await reader.get("/applications/@me"))


async def test_rights_in_a_guild_by_its_roles_are_those_that_discord_sums_up():
    async with served(new_sandbox) as discord, discord_reader(DiscordAccess(TOKEN, discord.url)) as reader:
        guild = discord.sandbox.world.guilds[GUILD]
        everyone, own = guild.roles[GUILD], guild.members[BOT]
        own.roles[:] = [ADMIN]
        guild.roles[ADMIN].permissions = BITS["KICK_MEMBERS"]
        everyone.permissions = BITS["VIEW_CHANNEL"] | BITS["SEND_MESSAGES"]
        guild.channels[GENERAL].overwrites = {GUILD: Overwrite(GUILD, 0, deny=BITS["SEND_MESSAGES"])}
        (summed,) = listed_rights(await read_guilds(reader))
        seen = await read_rights(reader, GUILD, BOT)
        assert seen
        assert (seen.id, seen.name, seen.bits) == (summed.id, summed.name, summed.bits)
        assert names_in(seen.bits) == ["KICK_MEMBERS", "VIEW_CHANNEL", "SEND_MESSAGES"]
        assert dict(seen.channels)["general"] == seen.bits & ~BITS["SEND_MESSAGES"]
        guild.owner_id = BOT
        assert "ADMINISTRATOR" in names_in((await read_rights(reader, GUILD, BOT)).bits)
        assert await read_rights(reader, "900000000000000999", BOT) is None


async def test_dead_token():
    async with served(new_sandbox) as discord, discord_reader(DiscordAccess("wrong", discord.url)) as reader:
        assert "dead" in assess_token(await reader.get("/users/@me"), sandbox=False).sentence


async def test_server_that_is_not_there_or_talks_nonsense():
    async def nonsense(_, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{")
        writer.close()

    async with await asyncio.start_server(nonsense, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with discord_reader(DiscordAccess("t", url)) as reader:
            assert "JSONDecodeError" in (await reader.get("/users/@me")).error
    async with discord_reader(DiscordAccess("t", url)) as reader:
        answer = await reader.get("/users/@me")
    assert answer.status is None
    assert "cannot be reached" in assess_token(answer, sandbox=False).sentence

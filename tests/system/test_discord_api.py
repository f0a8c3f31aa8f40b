"""The doctor's own client against a real sandbox: what it gets, and that it sends each request once."""

import asyncio

from botctl.core.clock import SystemClock
from botctl.core.contracts.discord_access import DiscordAccess
from botctl.doctor.discord import application_flags, assess_logins, assess_token
from botctl.doctor.discord_api import discord_reader
from botctl.doctor.finding import Mark
from tests.support.bots import new_sandbox
from tests.support.discord import BOT, TOKEN, served


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

"""Every incident, as a bare disnake bot meets it. What the docs say of an incident is what happens here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import disnake
import pytest

from botctl.core.errors import UsageError
from botctl.sandbox.incidents import catalogue
from botctl.sandbox.model.limits import LENIENT
from tests.support.discord import BOT, GENERAL, GUILD, TOKEN, Bot, Discord, local_discord
from tests.support.waiting import until


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    async with local_discord() as running:
        yield running


def beating() -> AbstractAsyncContextManager[Discord]:
    """A Discord that wants a heartbeat every tenth of a second."""
    return local_discord(limits=LENIENT.replace({"heartbeat_s": 0.1}))


async def begin(discord: Discord, name: str, for_s: float | None = None, **settings: Any) -> dict[str, Any]:
    return await discord.act("incidents", name=name, for_s=for_s, settings=settings)


async def end(discord: Discord, name: str) -> None:
    await discord.act("incidents", stop=name)


def sessions(discord: Discord) -> set[str]:
    return set(discord.sandbox.sessions.by_id)


class Counting(Bot):
    """Counts what it hears."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.heard: list[tuple[str, str]] = []

    def dispatch(self, event_name: str, /, *args: Any, **kwargs: Any) -> None:
        self.heard.append((event_name, str(getattr(args[0], "id", "")) if args else ""))
        super().dispatch(event_name, *args, **kwargs)

    def count(self, event: str) -> int:
        return sum(1 for name, _ in self.heard if name == event)


async def test_op7_storm_costs_resumes_and_no_identify(discord: Discord) -> None:
    async with discord.bot(kind=Counting) as bot:
        before = sessions(discord)
        await begin(discord, "op7-storm", every_s=0.05)
        await until(lambda: bot.count("resumed") >= 3)
        await end(discord, "op7-storm")
        assert sessions(discord) == before


@pytest.mark.parametrize("resumable", [True, False])
async def test_op9_ends_the_session_unless_it_may_be_resumed(discord: Discord, resumable: bool) -> None:
    async with discord.bot(kind=Counting) as bot:
        before = sessions(discord)
        await begin(discord, "op9", resumable=resumable)
        await until(lambda: bot.count("resumed" if resumable else "connect") >= (1 if resumable else 2))
        await until(lambda: bool(discord.sandbox.sessions.connected()))
        assert (sessions(discord) == before) is resumable


async def test_a_dead_resume_host_costs_an_identify(discord: Discord) -> None:
    """disnake tries it once, then identifies anew at the address that it began with."""
    async with discord.bot(kind=Counting) as bot:
        before = sessions(discord)
        await begin(discord, "resume-host-dead")
        await until(lambda: bot.count("connect") == 2, limit_s=15)
        assert (await discord.rest("GET", "/gateway"))[0] == 200
        assert bot.count("resumed") == 0
        assert {one.id for one in discord.sandbox.sessions.connected()}.isdisjoint(before)


async def test_a_half_open_connection_is_left_once_nothing_was_heard_for_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """disnake then waits 30 s for the answer to its close, which does not come."""
    patience = aiohttp.ClientWSTimeout(ws_close=0.05)
    monkeypatch.setattr(aiohttp, "ClientWSTimeout", lambda **_: patience)
    async with beating() as discord, discord.bot(kind=Counting, heartbeat_timeout=0.3) as bot:
        before = discord.sandbox.sessions.connected()
        await begin(discord, "half-open")
        await until(lambda: bot.count("resumed") >= 1)
        assert discord.sandbox.sessions.connected() == before


async def test_nothing_comes_from_a_half_open_connection_and_nothing_gets_through() -> None:
    limits = LENIENT.replace({"heartbeat_s": 0.1, "resume_window_s": 0.2})
    async with local_discord(limits=limits) as discord, discord.wire() as wire:
        ready = await wire.identify(intents=1)
        await wire.hear_until("GUILD_CREATE")
        await begin(discord, "half-open")
        await wire.say(8, {"guild_id": GUILD, "query": "a", "limit": 1})
        await wire.socket._writer.close(1000)
        await until(lambda: not discord.sandbox.sessions.connected())
        assert ready["session_id"] in discord.sandbox.sessions.by_id
        frame = await wire.socket.receive(timeout=5)  # the machine's own end of it, long after
        assert (frame.type, wire.socket.close_code) == (aiohttp.WSMsgType.CLOSED, 1006)


async def test_missed_acks_are_noticed_by_disnake_only_when_nothing_else_comes() -> None:
    async with beating() as discord, discord.bot(kind=Counting, heartbeat_timeout=0.3) as bot:
        await begin(discord, "missed-acks")
        await until(lambda: bot.count("resumed") >= 1)
        await end(discord, "missed-acks")


async def test_events_are_delivered_twice_around_a_resume(discord: Discord) -> None:
    async with discord.bot(kind=Counting, intents=disnake.Intents.all()) as bot:
        await discord.act("send", text="once?", **{"as": "ann"})
        await until(lambda: bot.count("message") == 1)
        await begin(discord, "repeated-deliveries", count=3)
        await until(lambda: bot.count("resumed") >= 1)
        assert bot.count("message") == 2
        assert len({key for name, key in bot.heard if name == "message"}) == 1


async def test_a_reset_token_ends_the_bot_and_401_is_what_the_old_one_gets(discord: Discord) -> None:
    bot = Bot()
    running = asyncio.create_task(bot.start(TOKEN))
    await asyncio.wait_for(bot.wait_until_ready(), 10)
    begun = await begin(discord, "token-reset")
    with pytest.raises(disnake.ConnectionClosed) as closed:
        await asyncio.wait_for(running, 10)
    await bot.close()
    assert closed.value.code == 4004
    assert (await discord.rest("GET", "/users/@me"))[0] == 401
    headers = {"Authorization": f"Bot {begun['result'][BOT]}"}
    async with discord.http.get(f"{discord.url}/api/v10/users/@me", headers=headers) as answer:
        assert answer.status == 200


async def test_a_lost_permission_is_50013_until_it_is_given_back(discord: Discord) -> None:
    async with discord.bot(kind=Counting) as bot:
        channel = bot.get_channel(int(GENERAL))
        assert isinstance(channel, disnake.TextChannel)
        await begin(discord, "permission-loss", permission="SEND_MESSAGES")
        await until(lambda: not channel.permissions_for(channel.guild.me).send_messages)
        with pytest.raises(disnake.Forbidden) as refused:
            await channel.send("may I?")
        assert refused.value.code == 50013
        await end(discord, "permission-loss")
        await channel.send("I may")
        await until(lambda: channel.permissions_for(channel.guild.me).send_messages)


async def test_a_guild_goes_and_comes_back_and_was_never_left(discord: Discord) -> None:
    async with discord.bot(kind=Counting) as bot:
        await begin(discord, "guild-outage")
        await until(lambda: bot.count("guild_unavailable") == 1)
        await end(discord, "guild-outage")
        await until(lambda: bot.count("guild_available") >= 1)
        assert bot.count("guild_remove") == 0


async def test_a_join_flood_is_heard_member_by_member(discord: Discord) -> None:
    async with discord.bot(kind=Counting, intents=disnake.Intents(guilds=True, members=True)) as bot:
        await begin(discord, "join-flood", members=300, per_s=10_000)
        await until(lambda: bot.count("member_join") == 300)
        assert len({key for name, key in bot.heard if name == "member_join"}) == 300


async def test_a_big_guild_comes_in_chunks_of_a_thousand(discord: Discord) -> None:
    async with discord.bot(kind=Counting, intents=disnake.Intents(guilds=True, members=True)) as bot:
        begun = await begin(discord, "big-guild", members=2500)
        guild_id = int(begun["result"]["guild"])
        await until(lambda: bool(bot.get_guild(guild_id)) and len(bot.get_guild(guild_id).members) == 2501)
        assert bot.get_guild(guild_id).large


async def test_latency_is_added_to_rest_and_to_the_gateway(discord: Discord) -> None:
    async with discord.bot() as bot:
        await begin(discord, "latency", delay_s=0.2, jitter_s=0.05)
        began_s = time.monotonic()
        await bot.fetch_user(int(BOT))
        assert time.monotonic() - began_s >= 0.2


async def test_5xx_is_retried_until_it_is_over(discord: Discord) -> None:
    async with discord.bot() as bot:
        await begin(discord, "http-5xx", for_s=0.3)
        assert (await bot.fetch_user(int(BOT))).bot
        await begin(discord, "http-5xx", status=503, path="/users")
        with pytest.raises(disnake.HTTPException) as failed:
            await bot.fetch_user(int(BOT))
        assert failed.value.status == 503


@pytest.mark.parametrize("scope", ["user", "shared", "global"])
async def test_429_is_waited_for(discord: Discord, scope: str) -> None:
    async with discord.bot() as bot:
        await begin(discord, "too-many-requests", for_s=0.2, scope=scope, retry_after_s=0.3)
        began_s = time.monotonic()
        assert (await bot.fetch_user(int(BOT))).bot
        assert time.monotonic() - began_s >= 0.3


async def test_the_1015_ban_is_an_error_at_once(discord: Discord) -> None:
    async with discord.bot() as bot:
        await begin(discord, "cloudflare-ban")
        began_s = time.monotonic()
        with pytest.raises(disnake.HTTPException) as banned:
            await bot.fetch_user(int(BOT))
        assert banned.value.status == 429
        assert time.monotonic() - began_s < 1, "disnake does not wait for a ban: it would be retried at once"
        assert "Via" not in banned.value.response.headers


async def test_a_body_may_be_slow(discord: Discord) -> None:
    async with discord.bot() as bot:
        await begin(discord, "slow-bodies", over_s=0.3)
        began_s = time.monotonic()
        assert (await bot.fetch_user(int(BOT))).bot
        assert time.monotonic() - began_s >= 0.25


@pytest.mark.parametrize("own_clock", [True, False])
async def test_who_trusts_the_own_clock_waits_wrongly_when_discords_is_ahead(own_clock: bool) -> None:
    """By X-RateLimit-Reset a bot waits for the skew too; by X-RateLimit-Reset-After, disnake's default, it does not."""
    limits = LENIENT.replace({"enforced": True, "requests": "1000/1s", "other_routes": "1/0.1s"})
    async with local_discord(limits=limits) as discord, discord.bot(assume_unsync_clock=not own_clock) as bot:
        await begin(discord, "clock-skew", ahead_s=2.0)
        await bot.fetch_guild(int(GUILD))
        began_s = time.monotonic()
        await bot.fetch_guild(int(GUILD))
        assert (time.monotonic() - began_s >= 2.0) is own_clock
        async with discord.http.get(f"{discord.url}/api/v10/gateway") as answer:
            assert parsedate_to_datetime(answer.headers["Date"]).timestamp() > time.time()


async def test_what_goes_on_is_told_and_ends_in_order(discord: Discord) -> None:
    await begin(discord, "latency", delay_s=0.0, jitter_s=0.0)
    there = await discord.look("incidents")
    assert [one["name"] for one in there["going_on"]] == ["latency"]
    assert {one["name"] for one in there["incidents"]} == set(catalogue.INCIDENTS)
    status, refused = await discord.control("POST", "incidents", {"name": "latency"})
    assert (status, refused["error"]) == (400, "The incident latency goes on already.")
    await discord.act("incidents", stop="all")
    assert (await discord.look("incidents"))["going_on"] == []


@pytest.mark.parametrize(
    ("body", "sentence", "hint"),
    [
        ({"name": "op7storm"}, "There is no incident “op7storm”.", "Did you mean op7-storm?"),
        ({"name": "op7-storm", "settings": {"x": 1}}, "The incident op7-storm has no setting “x”.", "It has: every_s."),
        (
            {"name": "op9", "settings": {"resumable": "maybe"}},
            "The setting resumable of op9 is a yes or no, not “maybe”.",
            "",
        ),
        ({"stop": "latency"}, "The incident latency does not go on.", ""),
        ({"scenario": "[[incident]]"}, "Incident 1 of the scenario has no name.", 'Begin it with: name = "op7-storm".'),
    ],
)
async def test_what_is_said_wrongly_is_a_sentence(
    discord: Discord, body: dict[str, Any], sentence: str, hint: str
) -> None:
    status, refused = await discord.control("POST", "incidents", body)
    assert (status, refused["error"], refused["hint"]) == (400, sentence, hint)


async def test_a_scenario_plays_at_its_times_on_the_clock_that_a_test_moves(discord: Discord) -> None:
    text = """
        [[incident]]
        name = "guild-outage"
        at_s = 100
        for_s = 50

        [[incident]]
        name = "latency"
        for_s = 30
        delay_s = 0.0
        jitter_s = 0.0
    """
    await discord.act("incidents", scenario=text)

    def going_on() -> set[str]:
        return {one.name for one in discord.running.incidents.going_on()}

    await until(lambda: going_on() == {"latency"})
    discord.sandbox.clock.advance(40)
    await until(lambda: going_on() == set())
    discord.sandbox.clock.advance(61)
    await until(lambda: going_on() == {"guild-outage"})
    assert not discord.sandbox.world.guilds[GUILD].available
    discord.sandbox.clock.advance(51)
    await until(lambda: not discord.running.incidents.playing)
    assert discord.sandbox.world.guilds[GUILD].available


def test_each_incident_is_met_by_a_bot_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in catalogue.INCIDENTS if f'begin(discord, "{name}"' not in text] == []


def test_an_incidents_settings_are_checked_by_their_defaults() -> None:
    kind = catalogue.find("join-flood")
    assert kind.checked({"members": "5", "per_s": 2}) == {"members": 5, "per_s": 2.0}
    with pytest.raises(UsageError, match="whole number"):
        kind.checked({"members": "many"})


async def test_429s_of_an_incident_count_as_invalid_requests_unless_they_are_shared() -> None:
    async with local_discord(limits=LENIENT.replace({"enforced": True, "invalid_requests": "3/600s"})) as discord:
        await begin(discord, "too-many-requests", scope="shared")
        for _ in range(5):
            assert (await discord.rest("GET", "/gateway"))[0] == 429
        await end(discord, "too-many-requests")
        assert (await discord.rest("GET", "/gateway"))[0] == 200
        await begin(discord, "too-many-requests", scope="user")
        for _ in range(3):
            await discord.rest("GET", "/gateway")
        await end(discord, "too-many-requests")
        async with discord.http.get(f"{discord.url}/api/v10/gateway") as banned:
            assert (banned.status, "Via" in banned.headers) == (429, False)

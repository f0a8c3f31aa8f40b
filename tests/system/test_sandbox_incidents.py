"""A plain disnake bot against every incident. The tests check what the docs say."""

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
from tests.support.discord import BOT, GENERAL, GUILD, TOKEN, Bot, Closed, Discord, Wire, local_discord
from tests.support.waiting import LIMIT_S, expires, until


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    async with local_discord() as running:
        yield running


def fast_heartbeats() -> AbstractAsyncContextManager[Discord]:
    """A sandbox with a heartbeat interval of 0.1 s, which bears it if a busy host is late."""
    return local_discord(limits=LENIENT.replace({"heartbeat_s": 0.1, "heartbeat_grace": 600}))


async def start(discord: Discord, name: str, for_s: float | None = None, **settings: Any) -> dict[str, Any]:
    return await discord.act("incidents", name=name, for_s=for_s, settings=settings)


async def stop(discord: Discord, name: str) -> None:
    await discord.act("incidents", stop=name)


def session_ids(discord: Discord) -> set[str]:
    return set(discord.sandbox.sessions.by_id)


class RecordingBot(Bot):
    """Records its events."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.heard: list[tuple[str, str]] = []

    def dispatch(self, event_name: str, /, *args: Any, **kwargs: Any) -> None:
        self.heard.append((event_name, str(getattr(args[0], "id", "")) if args else ""))
        super().dispatch(event_name, *args, **kwargs)

    def count(self, event: str) -> int:
        return sum(1 for name, _ in self.heard if name == event)


async def test_op7_storm_causes_resumes_without_identify(discord: Discord) -> None:
    async with discord.bot(kind=RecordingBot) as bot:
        before = session_ids(discord)
        await start(discord, "op7-storm", every_s=0.05)
        await until(lambda: bot.count("resumed") >= 3)
        await stop(discord, "op7-storm")
        assert session_ids(discord) == before


@pytest.mark.parametrize("resumable", [True, False])
async def test_op9_ends_the_session_unless_resumable(discord: Discord, resumable: bool) -> None:
    async with discord.bot(kind=RecordingBot) as bot:
        before = session_ids(discord)
        await start(discord, "op9", resumable=resumable)
        await until(lambda: bot.count("resumed" if resumable else "connect") >= (1 if resumable else 2))
        await until(lambda: bool(discord.sandbox.sessions.connected()))
        assert (session_ids(discord) == before) is resumable


async def test_dead_resume_host_forces_an_identify(discord: Discord) -> None:
    """disnake tries it once, then sends an IDENTIFY to its first address."""
    async with discord.bot(kind=RecordingBot) as bot:
        before = session_ids(discord)
        await start(discord, "resume-host-dead")
        await until(lambda: bot.count("connect") == 2)
        assert (await discord.rest("GET", "/gateway"))[0] == 200
        assert bot.count("resumed") == 0
        assert {session.id for session in discord.sandbox.sessions.connected()}.isdisjoint(before)


async def test_dead_resume_host_never_answers_a_resume(discord: Discord) -> None:
    async with discord.wire() as wire:
        ready = await wire.identify()
        await start(discord, "resume-host-dead")
    resume = {"token": TOKEN, "session_id": ready["session_id"], "seq": 1}

    async def try_to_resume() -> None:
        async with discord.wire() as wire:
            await wire.hear()
            await wire.say(6, resume)
            await wire.hear()

    for _ in range(6):
        with pytest.raises((aiohttp.ClientError, Closed)):  # before the handshake, or after the RESUME
            await try_to_resume()
    await stop(discord, "resume-host-dead")
    async with discord.wire() as wire:
        await wire.hear()
        await wire.say(6, resume)
        await wire.hear_until("RESUMED")


async def test_client_leaves_half_open_connection_after_heartbeat_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By default disnake waits 30 s for the answer to its close, which does not come."""
    timeout = aiohttp.ClientWSTimeout(ws_close=0.05)
    monkeypatch.setattr(aiohttp, "ClientWSTimeout", lambda **_: timeout)
    async with fast_heartbeats() as discord, discord.bot(kind=RecordingBot, heartbeat_timeout=expires(0.3)) as bot:
        before = discord.sandbox.sessions.connected()
        await start(discord, "half-open")
        await until(lambda: bot.count("resumed") >= 1)
        assert discord.sandbox.sessions.connected() == before


async def test_half_open_connection_delivers_nothing_in_either_direction() -> None:
    limits = LENIENT.replace({"heartbeat_s": 0.1, "resume_window_s": 0.2})
    async with local_discord(limits=limits) as discord, discord.wire() as wire:
        ready = await wire.identify(intents=1)
        await wire.hear_until("GUILD_CREATE")
        await start(discord, "half-open")
        await wire.say(8, {"guild_id": GUILD, "query": "a", "limit": 1})
        await wire.socket._writer.close(1000)
        await until(lambda: not discord.sandbox.sessions.connected())
        assert ready["session_id"] in discord.sandbox.sessions.by_id
        frame = await wire.socket.receive(timeout=LIMIT_S)  # the server aborts the connection at last
        assert (frame.type, wire.socket.close_code) == (aiohttp.WSMsgType.CLOSED, 1006)


async def test_deaf_connection_has_heartbeats_and_no_events_until_it_resumes() -> None:
    """disnake does not notice; its latency looks well. A RESUME brings what was missed."""
    async with fast_heartbeats() as discord, discord.bot(kind=RecordingBot) as bot:
        before, first = discord.sandbox.sessions.connected(), bot.ws
        await start(discord, "deaf")
        await discord.act("send", text="is anyone there?", **{"as": "ann"})
        beats = first._keep_alive._last_ack
        await until(lambda: first._keep_alive._last_ack > beats)
        await bot.get_channel(int(GENERAL)).trigger_typing()
        assert (bot.count("message"), bot.ws) == (0, first)
        await first.close(4000)
        await until(lambda: bot.count("message") == 1)
        assert (bot.count("resumed"), discord.sandbox.sessions.connected()) == (1, before)


async def test_deaf_connection_hears_what_it_missed_when_the_incident_ends(discord: Discord) -> None:
    async with discord.wire() as wire:
        await wire.identify(intents=1)
        await wire.hear_until("GUILD_CREATE")
        await start(discord, "deaf")
        await wire.say(8, {"guild_id": GUILD, "user_ids": [BOT], "nonce": "mine"})
        await wire.say(1, None)
        assert (await wire.hear())["op"] == 11
        await stop(discord, "deaf")
        assert (await wire.hear())["d"]["nonce"] == "mine"


async def test_deaf_connection_that_missed_too_much_is_closed() -> None:
    async with local_discord(limits=LENIENT.replace({"buffer": 3})) as discord, discord.wire() as wire:
        await wire.identify(intents=1)
        await wire.hear_until("GUILD_CREATE")
        await start(discord, "deaf")
        for _ in range(4):
            await wire.say(8, {"guild_id": GUILD, "user_ids": [BOT]})
        await wire.say(1, None)
        assert (await wire.hear())["op"] == 11
        await stop(discord, "deaf")
        assert await _closed_with(wire) == 4000


async def _closed_with(wire: Wire) -> int | None:
    with pytest.raises(Closed) as closed:
        await wire.hear()
    return closed.value.args[0]


async def test_new_connections_can_be_deaf_as_well(discord: Discord) -> None:
    """A login gets READY and its guilds, a RESUME what was missed; then nothing, until the incident ends."""
    async with discord.bot(kind=RecordingBot) as bot:
        await start(discord, "deaf", new_connections=True)
        await discord.act("send", text="missed", **{"as": "ann"})
        await bot.ws.close(4000)
        await until(lambda: bot.count("resumed") == 1 and bot.count("message") == 1)
        async with discord.wire() as wire:
            await wire.identify(intents=1)
            await wire.hear_until("GUILD_CREATE")
            await wire.say(8, {"guild_id": GUILD, "user_ids": [BOT]})
            await wire.say(1, None)
            assert (await wire.hear())["op"] == 11
        await discord.act("send", text="not heard", **{"as": "ann"})
        await bot.get_channel(int(GENERAL)).trigger_typing()
        assert bot.count("message") == 1
        await stop(discord, "deaf")
        await until(lambda: bot.count("message") == 2)


async def test_disnake_notices_missed_acks_only_on_idle_connections() -> None:
    async with fast_heartbeats() as discord, discord.bot(kind=RecordingBot, heartbeat_timeout=expires(0.3)) as bot:
        await start(discord, "missed-acks")
        await until(lambda: bot.count("resumed") >= 1)
        await stop(discord, "missed-acks")


async def test_resume_repeats_events(discord: Discord) -> None:
    async with discord.bot(kind=RecordingBot, intents=disnake.Intents.all()) as bot:
        await discord.act("send", text="once?", **{"as": "ann"})
        await until(lambda: bot.count("message") == 1)
        await start(discord, "repeated-deliveries", count=3)
        await until(lambda: bot.count("resumed") >= 1)
        assert bot.count("message") == 2
        assert len({key for name, key in bot.heard if name == "message"}) == 1


async def test_token_reset_closes_the_bot_and_old_token_gets_401(discord: Discord) -> None:
    bot = Bot()
    running = asyncio.create_task(bot.start(TOKEN))
    await asyncio.wait_for(bot.wait_until_ready(), LIMIT_S)
    started = await start(discord, "token-reset")
    with pytest.raises(disnake.ConnectionClosed) as closed:
        await asyncio.wait_for(running, LIMIT_S)
    await bot.close()
    assert closed.value.code == 4004
    assert (await discord.rest("GET", "/users/@me"))[0] == 401
    headers = {"Authorization": f"Bot {started['result'][BOT]}"}
    async with discord.http.get(f"{discord.url}/api/v10/users/@me", headers=headers) as response:
        assert response.status == 200


async def test_withdrawn_intent_ends_the_session_with_4014_until_it_is_given_back(discord: Discord) -> None:
    bot = Bot(intents=disnake.Intents(guilds=True, members=True))
    running = asyncio.create_task(bot.start(TOKEN))
    await asyncio.wait_for(bot.wait_until_ready(), LIMIT_S)
    async with discord.bot(kind=RecordingBot, intents=disnake.Intents(guilds=True)) as other:
        await start(discord, "intent-withdrawn", intent="members")
        with pytest.raises(disnake.PrivilegedIntentsRequired):
            await asyncio.wait_for(running, LIMIT_S)
        assert other.count("disconnect") == 0
    await bot.close()
    (application,) = discord.sandbox.world.applications.values()
    assert not application.flags & (1 << 14 | 1 << 15)
    await stop(discord, "intent-withdrawn")
    assert application.flags & 1 << 14


async def test_lost_permission_returns_50013_until_restored(discord: Discord) -> None:
    async with discord.bot(kind=RecordingBot) as bot:
        channel = bot.get_channel(int(GENERAL))
        assert isinstance(channel, disnake.TextChannel)
        await start(discord, "permission-loss", permission="SEND_MESSAGES")
        await until(lambda: not channel.permissions_for(channel.guild.me).send_messages)
        with pytest.raises(disnake.Forbidden) as error:
            await channel.send("may I?")
        assert error.value.code == 50013
        await stop(discord, "permission-loss")
        await channel.send("I may")
        await until(lambda: channel.permissions_for(channel.guild.me).send_messages)


async def test_guild_outage_does_not_remove_the_bot(discord: Discord) -> None:
    async with discord.bot(kind=RecordingBot) as bot:
        await start(discord, "guild-outage")
        await until(lambda: bot.count("guild_unavailable") == 1)
        await stop(discord, "guild-outage")
        await until(lambda: bot.count("guild_available") >= 1)
        assert bot.count("guild_remove") == 0


async def test_join_flood_emits_an_event_for_each_member(discord: Discord) -> None:
    async with discord.bot(kind=RecordingBot, intents=disnake.Intents(guilds=True, members=True)) as bot:
        await start(discord, "join-flood", members=300, per_s=10_000)
        await until(lambda: bot.count("member_join") == 300)
        assert len({key for name, key in bot.heard if name == "member_join"}) == 300


async def test_big_guild_arrives_in_chunks_of_1000(discord: Discord) -> None:
    async with discord.bot(kind=RecordingBot, intents=disnake.Intents(guilds=True, members=True)) as bot:
        started = await start(discord, "big-guild", members=2500)
        guild_id = int(started["result"]["guild"])
        await until(lambda: bool(bot.get_guild(guild_id)) and len(bot.get_guild(guild_id).members) == 2501)
        assert bot.get_guild(guild_id).large


async def test_latency_delays_rest_and_gateway(discord: Discord) -> None:
    async with discord.bot() as bot:
        await start(discord, "latency", delay_s=0.2, jitter_s=0.05)
        began_s = time.monotonic()
        await bot.fetch_user(int(BOT))
        assert time.monotonic() - began_s >= 0.2


async def test_5xx_is_retried(discord: Discord) -> None:
    async with discord.bot() as bot:
        await start(discord, "http-5xx", for_s=0.3)
        assert (await bot.fetch_user(int(BOT))).bot
        await start(discord, "http-5xx", status=503, path="/users")
        with pytest.raises(disnake.HTTPException) as error:
            await bot.fetch_user(int(BOT))
        assert error.value.status == 503


@pytest.mark.parametrize("scope", ["user", "shared", "global"])
async def test_bot_waits_after_429(discord: Discord, scope: str) -> None:
    async with discord.bot() as bot:
        await start(discord, "too-many-requests", for_s=0.2, scope=scope, retry_after_s=0.3)
        began_s = time.monotonic()
        assert (await bot.fetch_user(int(BOT))).bot
        assert time.monotonic() - began_s >= 0.3


async def test_cloudflare_ban_raises_at_once(discord: Discord) -> None:
    async with discord.bot() as bot:
        await start(discord, "cloudflare-ban")
        with pytest.raises(disnake.HTTPException) as error:
            async with asyncio.timeout(LIMIT_S):  # disnake does not wait for a ban, which lasts an hour
                await bot.fetch_user(int(BOT))
        assert error.value.status == 429
        assert "Via" not in error.value.response.headers


async def test_bot_waits_for_slow_bodies(discord: Discord) -> None:
    async with discord.bot() as bot:
        await start(discord, "slow-bodies", over_s=0.3)
        began_s = time.monotonic()
        assert (await bot.fetch_user(int(BOT))).bot
        assert time.monotonic() - began_s >= 0.25


@pytest.mark.parametrize("own_clock", [True, False])
async def test_clock_skew_affects_only_waits_by_the_own_clock(own_clock: bool) -> None:
    """X-RateLimit-Reset includes the skew; X-RateLimit-Reset-After, disnake's default, does not."""
    limits = LENIENT.replace({"enforced": True, "requests": "1000/1s", "other_routes": "1/0.1s"})
    async with local_discord(limits=limits) as discord, discord.bot(assume_unsync_clock=not own_clock) as bot:
        await start(discord, "clock-skew", ahead_s=2.0)
        await bot.fetch_guild(int(GUILD))
        began_s = time.monotonic()
        await bot.fetch_guild(int(GUILD))
        assert (time.monotonic() - began_s >= 1.9) is own_clock  # it waits less by what passed before
        async with discord.http.get(f"{discord.url}/api/v10/gateway") as response:
            assert parsedate_to_datetime(response.headers["Date"]).timestamp() > time.time()


async def test_running_incidents_are_listed_and_stopped(discord: Discord) -> None:
    await start(discord, "latency", delay_s=0.0, jitter_s=0.0)
    state = await discord.look("incidents")
    assert [incident["name"] for incident in state["going_on"]] == ["latency"]
    assert {incident["name"] for incident in state["incidents"]} == set(catalogue.INCIDENTS)
    status, answer = await discord.control("POST", "incidents", {"name": "latency"})
    assert (status, answer["error"]) == (400, "The incident latency is already running.")
    await discord.act("incidents", stop="all")
    assert (await discord.look("incidents"))["going_on"] == []


@pytest.mark.parametrize(
    ("body", "sentence", "hint"),
    [
        ({"name": "op7storm"}, "There is no incident “op7storm”.", "Did you mean op7-storm?"),
        ({"name": "op7-storm", "settings": {"x": 1}}, "The incident op7-storm has no setting “x”.", "It has: every_s."),
        (
            {"name": "op9", "settings": {"resumable": "maybe"}},
            "The setting resumable of op9 must be yes or no, not “maybe”.",
            "",
        ),
        ({"stop": "latency"}, "The incident latency is not running.", ""),
        (
            {"scenario": "[[incident]]"},
            "Incident 1 of the scenario has no name.",
            'Add a line such as: name = "op7-storm".',
        ),
    ],
)
async def test_invalid_request_returns_error_and_hint(
    discord: Discord, body: dict[str, Any], sentence: str, hint: str
) -> None:
    status, answer = await discord.control("POST", "incidents", body)
    assert (status, answer["error"], answer["hint"]) == (400, sentence, hint)


async def test_scenario_follows_the_sandbox_clock(discord: Discord) -> None:
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

    def running_names() -> set[str]:
        return {incident.name for incident in discord.running.incidents.list_running()}

    await until(lambda: running_names() == {"latency"})
    discord.sandbox.clock.advance(40)
    await until(lambda: running_names() == set())
    discord.sandbox.clock.advance(61)
    await until(lambda: running_names() == {"guild-outage"})
    assert not discord.sandbox.world.guilds[GUILD].available
    discord.sandbox.clock.advance(51)
    await until(lambda: not discord.running.incidents.playing)
    assert discord.sandbox.world.guilds[GUILD].available


def test_every_incident_is_tested_in_this_file() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in catalogue.INCIDENTS if f'start(discord, "{name}"' not in text] == []


def test_settings_are_converted_to_the_types_of_their_defaults() -> None:
    incident = catalogue.find("join-flood")
    assert incident.parse_settings({"members": "5", "per_s": 2}) == {"members": 5, "per_s": 2.0}
    with pytest.raises(UsageError, match="whole number"):
        incident.parse_settings({"members": "many"})


async def test_incident_429s_count_as_invalid_requests_unless_shared() -> None:
    async with local_discord(limits=LENIENT.replace({"enforced": True, "invalid_requests": "3/600s"})) as discord:
        await start(discord, "too-many-requests", scope="shared")
        for _ in range(5):
            assert (await discord.rest("GET", "/gateway"))[0] == 429
        await stop(discord, "too-many-requests")
        assert (await discord.rest("GET", "/gateway"))[0] == 200
        await start(discord, "too-many-requests", scope="user")
        for _ in range(3):
            await discord.rest("GET", "/gateway")
        await stop(discord, "too-many-requests")
        async with discord.http.get(f"{discord.url}/api/v10/gateway") as response:
            assert (response.status, "Via" in response.headers) == (429, False)

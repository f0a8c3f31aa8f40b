"""The realtime server over real sockets: keys, topics, recovery, stalled readers, limits, shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from botctl.core.contracts.access import Holder, HolderType, Requester
from botctl.core.contracts.grants import GrantStore
from botctl.core.contracts.service_state import ServiceHealth
from botctl.core.errors import Held, Unreachable
from botctl.core.processes.runtime import Runtime
from botctl.realtime.ended_callers import recheck
from botctl.realtime.protocol import CloseReason
from botctl.stores import embedded_redis
from botctl.stores.redis import connect as redis_connect
from tests.support.mongo_memory import MemoryDatabase
from tests.support.realtime import TOPIC, Rig, Stalled, masked, open_client, serving
from tests.support.stores import server
from tests.support.waiting import LIMIT_S, until


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botctl.realtime.server.CLOSE_GRACE_S", 0.2)


@pytest.fixture
async def rig(redis: Redis, tmp_path: Path) -> AsyncIterator[Rig]:
    async with serving(redis, tmp_path) as running:
        yield running


GUILD = "900000000000000001"


def _signal_call(function: Any, called: asyncio.Event) -> Any:
    """Wrap ``function``: set ``called`` at each call."""

    async def wrapper(*given: Any) -> Any:
        called.set()
        return await function(*given)

    return wrapper


class TestAdmission:
    async def test_hello_contains_protocol_version_and_timeouts(self, rig: Rig) -> None:
        async with open_client(rig.server.url) as client:
            assert client.hello["type"] == "hello"
            assert (client.hello["protocol"], client.hello["heartbeat_s"], client.hello["auth_s"]) == (1, 25.0, 10.0)

    async def test_valid_key_authenticates(self, rig: Rig) -> None:
        async with open_client(rig.server.url) as client:
            reply = await client.request("auth", key=await rig.key("system"))
            assert (reply["type"], reply["key"]["name"], reply["key"]["permissions"]) == (
                "auth",
                "test",
                ["events:system"],
            )
            assert (await client.request("ping"))["type"] == "pong"
            assert (await client.request("auth", key="again"))["code"] == "authenticated"

    @pytest.mark.parametrize("change", ["cut", "another secret", "nonsense"])
    async def test_invalid_key_is_refused_and_audited(self, rig: Rig, change: str) -> None:
        text = await rig.key()
        other = await rig.key()
        wrong = {"cut": text[:-1], "another secret": text[:20] + other[20:], "nonsense": "let me in"}[change]
        async with open_client(rig.server.url) as client:
            assert (await client.request("auth", key=wrong))["code"] == "bad key"
            assert await client.wait_closed() == CloseReason.BAD_KEY
        denied = [entry for entry in rig.auditor.entries if entry.outcome == "denied"]
        assert [(entry.action, entry.actor.id) for entry in denied] == [("key.use", "127.0.0.1")]

    async def test_expired_key_is_refused(self, rig: Rig) -> None:
        _, text = await rig.keys.create("short", expires_in=timedelta(microseconds=1))
        async with open_client(rig.server.url) as client:
            assert "expired" in (await client.request("auth", key=text))["message"]
            assert await client.wait_closed() == CloseReason.BAD_KEY

    async def test_first_message_must_be_auth(self, rig: Rig) -> None:
        async with open_client(rig.server.url) as client:
            assert (await client.request("subscribe", topics=[TOPIC]))["code"] == "not authenticated"
            assert await client.wait_closed() == CloseReason.NOT_AUTHENTICATED

    async def test_client_without_a_key_is_disconnected_after_the_timeout(self, redis: Redis, tmp_path: Path) -> None:
        async with serving(redis, tmp_path, auth_s=0.1) as rig, open_client(rig.server.url) as client:
            assert await client.wait_closed() == CloseReason.NOT_AUTHENTICATED

    async def test_socket_without_a_handshake_is_closed(
        self, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("botctl.realtime.server.OPEN_TIMEOUT_S", 0.1)
        async with serving(redis, tmp_path) as rig:
            host, port = rig.http.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            assert await reader.read() == b""
            writer.close()
            await until(lambda: not rig.server.connections.clients)

    @pytest.mark.parametrize("text", ["", "[]", '{"type":"dance"}', '{"type":"ping","id":[]}', "[" * 10_000])
    async def test_invalid_message_closes_the_connection(self, rig: Rig, text: str) -> None:
        async with open_client(rig.server.url, await rig.key()) as client:
            await client.connection.send(text)
            assert await client.wait_closed() == CloseReason.BAD_MESSAGE
            assert client.of_type("error")[0]["code"] == "bad message"

    @pytest.mark.parametrize(
        "name",
        ["\u00e9" * 64, "x\u20ac" * 32, "\U0001f600" * 64, "\u202e" * 64],
        ids=["two bytes", "one and three bytes", "four bytes", "overrides"],
    )
    async def test_long_close_reason_is_truncated_and_keeps_the_code(self, rig: Rig, name: str) -> None:
        """It quotes a client that is not authenticated; a close frame has 123 bytes for it."""
        async with open_client(rig.server.url) as client:
            await client.connection.send(json.dumps({"type": "subscribe", "topics": ["a"], "after": {name: {}}}))
            assert await client.wait_closed() == CloseReason.BAD_MESSAGE
            reason = client.connection.close_reason or ""
            assert reason.startswith("after names ")
            assert reason.isprintable()
            assert 110 < len(reason.encode()) <= 123

    async def test_too_large_message_closes_the_connection(self, rig: Rig) -> None:
        async with open_client(rig.server.url, await rig.key()) as client:
            await client.connection.send("x" * 20_000)
            assert await client.wait_closed() == 1009

    async def test_connections_per_key_are_limited(self, redis: Redis, tmp_path: Path) -> None:
        async with serving(redis, tmp_path, connections_per_key=1) as rig:
            key = await rig.key()
            url = rig.server.url
            async with open_client(url, key), open_client(url, await rig.key()), open_client(url) as second:
                await second.request("auth", key=key)
                assert await second.wait_closed() == CloseReason.TOO_MANY_CONNECTIONS
            await until(lambda: not rig.server.connections.clients)
            async with open_client(rig.server.url, key):
                pass

    async def test_connections_per_address_are_limited(self, redis: Redis, tmp_path: Path) -> None:
        async with serving(redis, tmp_path, connections_per_address=1) as rig:
            async with open_client(rig.server.url):
                with pytest.raises(InvalidStatus) as error:
                    await connect(rig.server.url)
                assert error.value.response.status_code == 429
            await until(lambda: not rig.server.connections.clients)
            async with open_client(rig.server.url):
                pass

    async def test_connects_per_address_are_throttled(self, redis: Redis, tmp_path: Path) -> None:
        async with serving(redis, tmp_path, connect_throttle="1/1h per address") as rig:
            async with open_client(rig.server.url):
                pass
            with pytest.raises(InvalidStatus, match="429"):
                await connect(rig.server.url)

    async def test_connections_are_limited(self, redis: Redis, tmp_path: Path) -> None:
        async with serving(redis, tmp_path, connections=1) as rig, open_client(rig.server.url):
            with pytest.raises((OSError, ConnectionClosed, EOFError, Exception)) as error:
                await connect(rig.server.url)
            assert not isinstance(error.value, AssertionError)
            assert rig.server.connections.rejected == 1

    async def test_idle_sockets_per_address_are_limited(self, redis: Redis, tmp_path: Path) -> None:
        async with (
            serving(redis, tmp_path, connections_per_address=2, connections=9) as rig,
            contextlib.AsyncExitStack() as stack,
        ):
            host, port = rig.http.removeprefix("http://").split(":")
            connections = rig.server.connections
            for _ in range(5):
                _, writer = await asyncio.open_connection(host, int(port))
                stack.callback(writer.close)
            await until(lambda: connections.counts.opened + connections.rejected == 5, what="all five sockets")
            assert (connections.counts.opened, connections.rejected) == (3, 2)
            assert len(connections.clients) == 3

    async def test_throttled_message_says_when_to_retry(self, redis: Redis, tmp_path: Path) -> None:
        limit = {"message_throttle": "2/1s per key"}
        async with serving(redis, tmp_path, **limit) as rig, open_client(rig.server.url, await rig.key()) as client:
            replies = await asyncio.gather(*(client.request("ping") for _ in range(3)))
            assert [reply["type"] for reply in replies] == ["pong", "pong", "error"]
            assert (replies[2]["code"], replies[2]["temporary"]) == ("throttled", True)
            assert 0 < replies[2]["retry_after_s"] <= 1
            # The server waited for us. Redis counts a call later than this process, by as much as the machine is busy.
            later = [(await client.request("ping"))["type"] for _ in range(5)]
            assert "pong" in later


class TestTopics:
    async def test_events_arrive_in_order_with_offsets(self, rig: Rig) -> None:
        async with open_client(rig.server.url, await rig.key(), TOPIC) as client:
            rig.publish(50)
            await client.wait_for_events(50)
            assert client.offsets == list(range(1, 51))
            assert client.numbers == list(range(1, 51))
            event = client.of_type("event")[0]["event"]
            assert (event["type"], event["bot"], event["v"]) == ("drain.started", "bot", 1)

    async def test_key_allows_only_its_own_topics(self, rig: Rig) -> None:
        async with open_client(rig.server.url, await rig.key("commands")) as client:
            reply = await client.request("subscribe", topics=["commands", TOPIC])
            assert (reply["type"], reply["code"]) == ("error", "forbidden")
            assert (await client.request("subscribe", topics=["commands"]))["type"] == "subscribe"
            rig.publish()
            await rig.wait_for_relay()
            assert (await client.request("ping"))["type"] == "pong"
            assert client.of_type("event") == []

    async def test_unsubscribed_client_gets_no_events(self, rig: Rig) -> None:
        key = await rig.key()
        async with open_client(rig.server.url, key, TOPIC) as client, open_client(rig.server.url, key, TOPIC) as other:
            rig.publish(1)
            await client.wait_for_events(1)
            assert (await client.request("unsubscribe", topics=[TOPIC]))["topics"] == []
            rig.publish(1)
            await other.wait_for_events(2)
            assert client.numbers == [1]
        await until(lambda: rig.server.hub.subscriptions == 0)

    async def test_client_whose_new_subscription_fails_reconnects(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its old subscription is over, so an open connection would miss events without a word."""

        async def fail(*_: Any, **__: Any) -> Any:
            raise Unreachable("Redis is away")

        async with open_client(rig.server.url, await rig.key(), TOPIC) as client:
            rig.publish(1)
            await client.wait_for_events(1)
            monkeypatch.setattr(rig.server.hub, "history", fail)
            reply = await client.request("subscribe", topics=["new"])
            assert (reply["code"], reply["temporary"], client.code) == ("unavailable", True, None)
            reply = await client.request("subscribe", topics=[TOPIC], after=client.position)
            assert reply["code"] == "unavailable"
            assert await client.wait_closed() == CloseReason.UNAVAILABLE

    async def test_topics_per_connection_are_limited(self, redis: Redis, tmp_path: Path) -> None:
        async with (
            serving(redis, tmp_path, topics=2) as rig,
            open_client(rig.server.url, await rig.key(), "a", "b") as client,
        ):
            assert (await client.request("subscribe", topics=["c"]))["code"] == "too many topics"
            assert (await client.request("subscribe", topics=["a"]))["type"] == "subscribe"

    async def test_event_is_encoded_once_for_all_clients(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        encoded = []
        real = __import__("botctl.realtime.event_frames", fromlist=["text_frame"]).text_frame
        monkeypatch.setattr("botctl.realtime.event_frames.text_frame", lambda data: encoded.append(data) or real(data))
        key = await rig.key()
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(open_client(rig.server.url, key, TOPIC)) for _ in range(5)]
            rig.publish(20)
            for client in clients:
                await client.wait_for_events(20)
        assert len(encoded) == 20


class TestRecovery:
    async def test_missed_events_arrive_first_and_only_once(self, rig: Rig) -> None:
        key = await rig.key()
        async with open_client(rig.server.url, key, TOPIC) as client:
            rig.publish(5)
            await client.wait_for_events(5)
        rig.publish(20)
        await rig.wait_for_relay()
        async with open_client(rig.server.url, key) as reconnected:
            reply = await reconnected.request("subscribe", topics=[TOPIC], after=client.position)
            assert reply["topics"] == [{"topic": TOPIC, **client.position[TOPIC], "recovered": True}]
            rig.publish(5)
            await reconnected.wait_for_events(25)
            assert reconnected.numbers == list(range(6, 31))
            assert reconnected.offsets == list(range(6, 31))

    async def test_reconnecting_during_a_stream_loses_and_duplicates_nothing(self, rig: Rig) -> None:
        key = await rig.key()
        numbers = [1]
        done = asyncio.Event()

        async def publish_events() -> None:
            while not done.is_set():
                if rig.published < numbers[-1] + 250:
                    rig.publish(3)
                await asyncio.sleep(0.001)

        async with open_client(rig.server.url, key, TOPIC) as steady_client:
            rig.publish()
            await steady_client.wait_for_events(1)
            after = steady_client.position
            publishing = asyncio.create_task(publish_events())
            for _ in range(15):
                async with open_client(rig.server.url, key) as client:
                    (reply,) = (await client.request("subscribe", topics=[TOPIC], after=after))["topics"]
                    assert reply == {"topic": TOPIC, **after[TOPIC], "recovered": True}
                    await client.wait_for_events(7)
                    numbers += client.numbers
                    assert client.of_type("gap") == []
                    after = client.position
            done.set()
            await publishing
            await until(lambda: steady_client.numbers[-1:] == [rig.published], what="the last event")
            assert numbers == list(range(1, numbers[-1] + 1))
            assert steady_client.numbers == list(range(1, rig.published + 1))

    @pytest.mark.parametrize("reason", ["too many", "another epoch", "too large", "ahead"])
    async def test_incomplete_history_is_not_recovered(self, redis: Redis, tmp_path: Path, reason: str) -> None:
        async with serving(redis, tmp_path, recover=10, queue_bytes=8192) as rig:
            key = await rig.key()
            async with open_client(rig.server.url, key, TOPIC) as client:
                rig.publish(1)
                await client.wait_for_events(1)
            after = client.position
            rig.publish(11 if reason == "too many" else 5, padding="x" * (2000 if reason == "too large" else 1))
            await rig.wait_for_relay()
            after[TOPIC] |= {"another epoch": {"epoch": "other"}, "ahead": {"offset": 10**9}}.get(reason, {})
            async with open_client(rig.server.url, key) as reconnected:
                reply = (await reconnected.request("subscribe", topics=[TOPIC], after=after))["topics"][0]
                assert (reply["recovered"], reply["offset"]) == (False, rig.published)
                rig.publish(1)
                await reconnected.wait_for_events(1)
                assert reconnected.numbers == [rig.published]

    async def test_history_of_many_topics_does_not_disconnect_a_reader(self, redis: Redis, tmp_path: Path) -> None:
        """Together they may take what one may; the rest is told to be missing."""
        topics = [f"topic{n}" for n in range(40)]
        async with serving(redis, tmp_path, queue_bytes=65_536) as rig:
            for topic in topics:
                await rig.log.append(topic, [{"text": "x" * 1000}] * 11)
            epochs = {topic: (await rig.log.position(topic)).epoch for topic in topics}
            after = {topic: {"epoch": epoch, "offset": 1} for topic, epoch in epochs.items()}
            async with open_client(rig.server.url, await rig.key()) as client:
                reply = await client.request("subscribe", topics=topics, after=after)
                assert [message["recovered"] for message in reply["topics"]] == [True] * 2 + [False] * 38
                assert (await client.request("ping"))["type"] == "pong"
                assert [message["topic"] for message in client.of_type("event")] == ["topic0"] * 10 + ["topic1"] * 10
                reconnected = await client.request(
                    "subscribe", topics=topics[2:4], after={t: after[t] for t in topics[2:4]}
                )
                assert all(message["recovered"] for message in reconnected["topics"])

    async def test_client_recovers_from_a_new_server(self, redis: Redis, tmp_path: Path) -> None:
        database = MemoryDatabase()
        async with serving(redis, tmp_path, database=database) as rig:
            key = await rig.key()
            async with open_client(rig.server.url, key, TOPIC) as client:
                rig.publish(3)
                await client.wait_for_events(3)
        async with serving(redis, tmp_path, database=database) as rig:
            rig.publish(4)
            async with open_client(rig.server.url, key, TOPIC, after=client.position) as reconnected:
                await reconnected.wait_for_events(4)
                assert reconnected.offsets == [4, 5, 6, 7]

    async def test_killed_redis_loses_no_event_and_no_client(self, tmp_path: Path) -> None:
        with server(embedded_redis.PART, tmp_path) as store:
            async with (
                redis_connect(store.url, timeout_s=LIMIT_S) as redis,
                serving(redis, tmp_path) as rig,
                open_client(rig.server.url, await rig.key(), TOPIC) as client,
            ):
                rig.publish(10)
                await client.wait_for_events(10)
                store.kill()
                rig.publish(10)
                store.start()
                rig.publish(10)
                await client.wait_for_events(30)
                assert client.offsets == list(range(1, 31))

    async def test_flushed_redis_causes_a_gap(self, redis: Redis, rig: Rig) -> None:
        async with open_client(rig.server.url, await rig.key(), TOPIC) as client:
            rig.publish(3)
            await client.wait_for_events(3)
            await redis.flushdb()
            rig.publish(2)
            await client.wait_for_events(5)
            assert client.numbers == [1, 2, 3, 4, 5]
            assert client.offsets == [1, 2, 3, 1, 2]
            (gap,) = client.of_type("gap")
            assert gap["epoch"] != client.of_type("event")[0]["epoch"]
            assert (gap["topic"], gap["offset"]) == (TOPIC, 0)

    async def test_redis_that_lost_its_newest_events_repeats_none(self, redis: Redis, rig: Rig) -> None:
        async with open_client(rig.server.url, await rig.key(), TOPIC) as client:
            rig.publish(3)
            await client.wait_for_events(3)
            saved = {key: await redis.dump(key) for key in await redis.keys("botctl:*:ev*")}
            rig.publish(2)
            await client.wait_for_events(5)
            for key, value in saved.items():
                await redis.restore(key, 0, value, replace=True)
            rig.publish(2)
            await client.wait_for_events(7)
            assert client.numbers == [1, 2, 3, 4, 5, 6, 7]
            assert client.offsets == [1, 2, 3, 4, 5, 4, 5]
            assert {gap["offset"] for gap in client.of_type("gap")} == {3}


class TestRevocation:
    async def test_revocation_event_disconnects_the_client(self, rig: Rig) -> None:
        key, other = await rig.key(), await rig.key()
        async with (
            open_client(rig.server.url, key, TOPIC) as client,
            open_client(rig.server.url, other, TOPIC) as other_client,
        ):
            await rig.keys.revoke(key.split("_")[1])
            assert await client.wait_closed() == CloseReason.KEY_ENDED
            assert (await other_client.request("ping"))["type"] == "pong"
            async with open_client(rig.server.url) as reconnected:
                assert "revoked" in (await reconnected.request("auth", key=key))["message"]

    async def test_rotated_key_ends_now_or_after_the_overlap(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        key, short = await rig.key(), await rig.key()
        async with (
            open_client(rig.server.url, key, TOPIC) as client,
            open_client(rig.server.url, short, TOPIC) as other_client,
        ):
            await rig.keys.rotate(short.split("_")[1], overlap=timedelta(hours=1))
            successor = (await rig.keys.rotate(key.split("_")[1], overlap=timedelta(0))).text
            assert await client.wait_closed() == CloseReason.KEY_ENDED
            async with open_client(rig.server.url, successor, TOPIC):
                assert (await other_client.request("ping"))["type"] == "pong"
            end = rig.clock.now() + timedelta(hours=1)
            monkeypatch.setattr(rig.clock, "now", lambda: end)
            assert await other_client.wait_closed() == CloseReason.KEY_ENDED

    @pytest.mark.parametrize("how", ["revoked", "expired"])
    async def test_lost_right_disconnects_the_client_that_uses_it(
        self, rig: Rig, how: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key, other = await rig.key("jobs"), await rig.key("jobs")
        holder = Holder(HolderType.KEY, key.split("_")[1])
        grants = rig.running.get(GrantStore)
        await grants.grant("viewer", holder, reason="a dashboard", expires_in=timedelta(hours=1))
        await until(lambda: rig.access.decide(Requester(holder), f"events:{TOPIC}").allowed, what="the grant")
        async with (
            open_client(rig.server.url, key, TOPIC) as client,
            open_client(rig.server.url, key, "jobs") as idle_client,
            open_client(rig.server.url, other, "jobs") as other_client,
        ):
            if how == "revoked":
                await grants.revoke("viewer", holder, reason="no dashboard")
            else:
                end = rig.clock.now() + timedelta(hours=1)
                monkeypatch.setattr(rig.clock, "now", lambda: end)
            assert await client.wait_closed() == CloseReason.ACCESS_CHANGED
            assert (await idle_client.request("ping"))["type"] == "pong"  # it uses what the key has itself
            assert (await other_client.request("ping"))["type"] == "pong"
            assert (await idle_client.request("subscribe", topics=[TOPIC]))["code"] == "forbidden"

    async def test_key_of_a_guild_gets_and_recovers_only_events_of_its_guild(self, rig: Rig) -> None:
        _, text = await rig.keys.create("one guild", guild=GUILD)
        async with (
            open_client(rig.server.url, text, TOPIC) as client,
            open_client(rig.server.url, await rig.key(), TOPIC) as other,
        ):
            for guild in (None, GUILD, "900000000000000002", GUILD):
                rig.publish(guild=guild)
            await client.wait_for_events(2)
            await other.wait_for_events(4)
            assert (client.numbers, client.offsets) == ([2, 4], [2, 4])
            assert client.of_type("gap") == []
        after = {TOPIC: client.position[TOPIC] | {"offset": 1}}
        async with open_client(rig.server.url, text, TOPIC, after=after) as client:
            rig.publish(guild=GUILD)
            await client.wait_for_events(3)
            assert client.numbers == [2, 4, 5]

    async def test_lost_right_in_a_guild_disconnects_the_client(self, rig: Rig) -> None:
        """The key has a right of its own in one guild, and by a grant in another."""
        key, text = await rig.keys.create("one guild", guild=GUILD)
        holder, grants = Holder(HolderType.KEY, key.id), rig.running.get(GrantStore)
        await grants.grant("viewer", holder, guild="900000000000000002", reason="a dashboard")
        await until(lambda: bool(rig.access.rules.guilds_of(holder)), what="the grant")
        async with open_client(rig.server.url, text, TOPIC) as client:
            rig.publish(guild="900000000000000002")
            rig.publish(guild=GUILD)
            await client.wait_for_events(2)
            await grants.revoke("viewer", holder, guild="900000000000000002", reason="no dashboard")
            assert await client.wait_closed() == CloseReason.ACCESS_CHANGED

    async def test_client_is_told_of_rights_that_it_gains_and_of_lost_ones_that_it_does_not_use(self, rig: Rig) -> None:
        key, text = await rig.keys.create("rights")
        holder, grants = Holder(HolderType.KEY, key.id), rig.running.get(GrantStore)
        async with open_client(rig.server.url, text) as client, open_client(rig.server.url, await rig.key()) as other:
            await grants.grant("operator", holder, reason="on call")
            await until(lambda: len(client.of_type("rights")) == 1, what="the push after the grant")
            await grants.revoke("operator", holder, reason="not on call")
            await until(lambda: len(client.of_type("rights")) == 2, what="the push after the loss")
            assert (await other.request("ping"))["type"] == "pong"
            assert other.of_type("rights") == []

    async def test_deleted_key_disconnects_the_client_without_an_event(
        self, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("botctl.realtime.ended_callers.RECHECK_S", 0.05)
        database = MemoryDatabase()
        async with (
            serving(redis, tmp_path, database=database) as rig,
            open_client(rig.server.url, await rig.key()) as client,
        ):
            await database["botctl_api_keys"].delete_one({})
            assert await client.wait_closed() == CloseReason.KEY_ENDED

    async def test_revoked_keys_without_connections_are_forgotten(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("botctl.realtime.ended_callers.RECHECK_S", 0.01)
        connections = rig.server.connections
        key = await rig.key()
        async with open_client(rig.server.url, key) as client:
            for _ in range(3):
                connections.disconnect_caller((await rig.key()).split("_")[1])
            await rig.keys.revoke(key.split("_")[1])
            assert await client.wait_closed() == CloseReason.KEY_ENDED
        await until(lambda: not connections.clients)
        rechecking = asyncio.create_task(recheck(connections, rig.keys, None, failed=lambda _: None))
        await until(lambda: not connections._ended, what="the key ids to be removed")
        rechecking.cancel()

    async def test_key_revoked_during_its_check_is_refused(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        """The revocation event arrives during the check, and is remembered until the check is done."""
        key = await rig.key()
        real, checked, proceed = rig.keys.check, asyncio.Event(), asyncio.Event()

        async def slow(text: str, **options: Any) -> Any:
            checked_key = await real(text, **options)
            checked.set()
            await proceed.wait()
            return checked_key

        rig.keys.check = slow  # type: ignore[method-assign]
        async with open_client(rig.server.url) as client:
            calling = asyncio.create_task(client.request("auth", key=key))
            await checked.wait()
            await rig.keys.revoke(key.split("_")[1])
            await until(lambda: key.split("_")[1] in rig.server.connections._ended)
            monkeypatch.setattr("botctl.realtime.ended_callers.RECHECK_S", 0)
            called = asyncio.Event()
            monkeypatch.setattr(rig.keys, "active", _signal_call(rig.keys.active, called))
            rechecking = asyncio.create_task(recheck(rig.server.connections, rig.keys, None, failed=lambda _: None))
            for _ in range(2):  # the second one starts after the first
                await called.wait()
                called.clear()
            rechecking.cancel()
            proceed.set()
            assert (await calling)["type"] == "error"
            assert await client.wait_closed() == CloseReason.KEY_ENDED

    async def test_unreachable_key_store_refuses_only_new_clients(self, rig: Rig) -> None:
        async def fail(_: str, **__: Any) -> Any:
            raise Unreachable("MongoDB is away")

        key = await rig.key()
        async with (
            open_client(rig.server.url, key, TOPIC) as authenticated,
            open_client(rig.server.url) as unauthenticated,
        ):
            rig.keys.check = fail  # type: ignore[method-assign]
            assert (await unauthenticated.request("auth", key=key))["temporary"]
            assert await unauthenticated.wait_closed() == CloseReason.UNAVAILABLE
            assert (await authenticated.request("ping"))["type"] == "pong"


class TestStalledReaders:
    async def test_stalled_clients_are_bounded_disconnected_and_delay_no_one(
        self, redis: Redis, tmp_path: Path
    ) -> None:
        queue_bytes = 65_536
        async with (
            serving(redis, tmp_path, stall_s=0.5, queue_bytes=queue_bytes) as rig,
            contextlib.AsyncExitStack() as stack,
        ):
            key = await rig.key()
            connections = rig.server.connections
            reading = [await stack.enter_async_context(open_client(rig.server.url, key, TOPIC)) for _ in range(10)]
            stalled = [await Stalled.open(rig.server.url, key) for _ in range(10)]
            for client in stalled:
                stack.callback(client.close)
            most_bytes = 0
            for _ in range(20):  # 4 MB for each
                rig.publish(100, padding="x" * 2000)
                await reading[0].wait_for_events(rig.published)
                most_bytes = max(most_bytes, *(message.buffered_bytes for message in connections.clients))
            for client in reading:
                await client.wait_for_events(rig.published)
                assert client.numbers == list(range(1, 2001))
            await until(lambda: len(connections.clients) == 10, what="the stalled clients to be gone")
            assert most_bytes <= queue_bytes + 3 * 65_536
            assert connections.counts.disconnected == {"slow": 10}
            assert connections.buffered_bytes == 0
            assert (await reading[0].request("ping"))["type"] == "pong"

    async def test_stalled_client_is_disconnected_before_its_queue_is_full(self, redis: Redis, tmp_path: Path) -> None:
        async with serving(redis, tmp_path, stall_s=0.2, queue_bytes=50_000_000) as rig:
            client = await Stalled.open(rig.server.url, await rig.key())
            rig.publish(400, padding="x" * 2000)
            await until(lambda: rig.server.connections.counts.disconnected == {"slow": 1}, what="the disconnect")
            client.close()

    async def test_client_that_reads_again_in_time_loses_nothing(self, redis: Redis, tmp_path: Path) -> None:
        async with serving(redis, tmp_path, stall_s=2 * LIMIT_S, queue_bytes=8_000_000) as rig:
            client = await Stalled.open(rig.server.url, await rig.key())
            rig.publish(500, padding="x" * 2000)
            await until(lambda: rig.server.connections.buffered_bytes > 500_000, what="a queue")
            reply = b""
            async with asyncio.timeout(LIMIT_S):
                while reply.count(b'"type":"event"') < 500:
                    reply += await asyncio.get_running_loop().sock_recv(client.sock, 65_536)
            await until(lambda: rig.server.connections.buffered_bytes == 0)
            client.close()

    async def test_pings_of_a_stalled_client_do_not_fill_memory(self, rig: Rig) -> None:
        client = await Stalled.open(rig.server.url, await rig.key())
        most_bytes = 0
        with contextlib.suppress(ConnectionError):
            for _ in range(400):
                await client.send(masked(b"x" * 125, opcode=9) * 1000)
                most_bytes = max(most_bytes, rig.server.connections.buffered_bytes)
                if not rig.server.connections.clients:
                    break
        await until(lambda: not rig.server.connections.clients, what="the disconnect")
        assert most_bytes < 1_500_000
        client.close()

    async def test_drain_does_not_wait_for_stalled_clients(self, redis: Redis, tmp_path: Path) -> None:
        async with asyncio.timeout(LIMIT_S):
            async with serving(redis, tmp_path, stall_s=2 * LIMIT_S, queue_bytes=8_000_000, drain_s=0.3) as rig:
                key = await rig.key()
                stalled = [await Stalled.open(rig.server.url, key) for _ in range(5)]
                host, port = rig.http.removeprefix("http://").split(":")
                _, silent = await asyncio.open_connection(host, int(port))
                rig.publish(400, padding="x" * 2000)
                await until(lambda: rig.server.connections.buffered_bytes > 5 * 300_000, what="queues")
                unresponsive = await Stalled.open(rig.server.url, key, topics=("quiet",))
                async with open_client(rig.server.url, key, "quiet") as reading:
                    ending = asyncio.create_task(rig.server.connections.drain(0.3))
                    assert await reading.wait_closed() == CloseReason.SHUTDOWN
                    assert 0.5 <= reading.of_type("closing")[0]["retry_after_s"] <= 5
                    await ending
        assert not rig.server.connections.clients
        for client in (*stalled, unresponsive):
            client.close()
        silent.close()

    async def test_unanswered_close_frame_ends_in_an_abort(self, rig: Rig) -> None:
        client = await Stalled.open(rig.server.url, await rig.key())
        await client.send(masked(b"nonsense"))
        await until(lambda: not rig.server.connections.clients, what="the abort")
        client.close()


class TestHeartbeats:
    async def test_heartbeats_and_pings_are_sent(self, redis: Redis, tmp_path: Path) -> None:
        async with (
            serving(redis, tmp_path, heartbeat_s=0.2) as rig,
            open_client(rig.server.url, await rig.key()) as client,
        ):
            await until(lambda: len(client.of_type("heartbeat")) >= 2, what="heartbeats")
            assert rig.server.connections.clients  # its library has answered the pings

    async def test_client_that_answers_no_ping_is_disconnected(self, redis: Redis, tmp_path: Path) -> None:
        async with serving(redis, tmp_path, heartbeat_s=0.1) as rig:
            client = await Stalled.open(rig.server.url, await rig.key())
            await until(lambda: rig.server.connections.counts.disconnected == {"silent": 1}, what="the disconnect")
            client.close()


class TestPages:
    async def test_pages_answer_get_and_head(self, rig: Rig) -> None:
        async with aiohttp.ClientSession() as http, open_client(rig.server.url, await rig.key(), TOPIC):
            async with http.get(f"{rig.http}/healthz") as answer:
                assert (answer.status, await answer.json()) == (200, {"alive": True})

            async def is_ready() -> bool:
                async with http.get(f"{rig.http}/readyz") as answer:
                    assert (answer.status == 200) is (await answer.json())["ready"]
                    return answer.status == 200

            await until(is_ready, what="the answers of all services")
            async with http.get(f"{rig.http}/metrics") as answer:
                text = await answer.text()
                assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
                assert "botctl_realtime_subscriptions 1.0" in text
                assert 'botctl_service_up{service="realtime"} 1.0' in text
            async with http.head(f"{rig.http}/metrics") as answer:
                assert (answer.status, await answer.read()) == (200, b"")
            async with http.get(f"{rig.http}/nothing") as answer:
                assert answer.status == 404
            async with http.delete(f"{rig.http}/metrics") as answer:
                assert answer.status == 405

    async def test_readiness_page_names_the_failing_services(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("botctl.realtime.http.HEALTH_CACHE_S", 0)

        async def health(timeout_s: float = 2.0) -> list[ServiceHealth]:
            return [ServiceHealth("redis", False, 1.0, "it hurts"), ServiceHealth("realtime", True, 1.0, "")]

        monkeypatch.setattr(rig.running, "health", health)
        async with aiohttp.ClientSession() as http, http.get(f"{rig.http}/readyz") as answer:
            assert answer.status == 503
            body = await answer.json()
            assert body["ready"] is False
            assert body["not_ready"] == {"redis": {"state": "idle", "detail": "it hurts"}}

    async def test_runtime_file_contains_the_server_address(self, rig: Rig, tmp_path: Path) -> None:
        part = Runtime(tmp_path).live()["realtime"]
        assert part.address == rig.server.url
        assert json.loads((tmp_path / ".botctl" / "runtime.json").read_text())

    async def test_address_in_use_means_another_process(self, rig: Rig, redis: Redis, tmp_path: Path) -> None:
        port = int(rig.http.rpartition(":")[2])
        with pytest.raises(Held, match=f"port {port}"):
            async with serving(redis, tmp_path, port=port):
                pass

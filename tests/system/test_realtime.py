"""The realtime server over real sockets: keys, topics, recovery, readers that stall, limits, its end."""

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

from botctl.core.contracts.service_state import ServiceHealth
from botctl.core.errors import ConfigError, Unreachable
from botctl.core.processes.runtime import Runtime
from botctl.realtime.protocol import CloseReason
from botctl.stores import embedded_redis
from botctl.stores.redis import connect as redis_connect
from tests.support.mongo_memory import MemoryDatabase
from tests.support.realtime import TOPIC, Rig, Stalled, client, masked, serving
from tests.support.stores import server
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not answer a close frame is soon aborted."""
    monkeypatch.setattr("botctl.realtime.server.GRACE_S", 0.2)


@pytest.fixture
async def rig(redis: Redis, tmp_path: Path) -> AsyncIterator[Rig]:
    async with serving(redis, tmp_path) as running:
        yield running


def _noting(ask: Any, asked: asyncio.Event) -> Any:
    """``ask``, which notes that it was asked."""

    async def noted(*given: Any) -> Any:
        asked.set()
        return await ask(*given)

    return noted


class TestTheDoor:
    """Who comes in."""

    async def test_hello_tells_the_rules(self, rig: Rig) -> None:
        async with client(rig.server.url) as one:
            assert one.hello["type"] == "hello"
            assert (one.hello["protocol"], one.hello["heartbeat_s"], one.hello["auth_s"]) == (1, 25.0, 10.0)

    async def test_a_key_opens(self, rig: Rig) -> None:
        async with client(rig.server.url) as one:
            said = await one.call("auth", key=await rig.key("system"))
            assert (said["type"], said["key"]["name"], said["key"]["topics"]) == ("auth", "test", ["system"])
            assert (await one.call("ping"))["type"] == "pong"
            assert (await one.call("auth", key="again"))["code"] == "authenticated"

    @pytest.mark.parametrize("change", ["cut", "another secret", "nonsense"])
    async def test_a_wrong_key_does_not_and_is_audited(self, rig: Rig, change: str) -> None:
        text = await rig.key()
        other = await rig.key()
        wrong = {"cut": text[:-1], "another secret": text[:20] + other[20:], "nonsense": "let me in"}[change]
        async with client(rig.server.url) as one:
            assert (await one.call("auth", key=wrong))["code"] == "bad key"
            assert await one.ended() == CloseReason.BAD_KEY
        refused = [entry for entry in rig.auditor.entries if entry.outcome == "denied"]
        assert [(entry.action, entry.actor.id) for entry in refused] == [("key.use", "127.0.0.1")]

    async def test_an_expired_key_does_not(self, rig: Rig) -> None:
        _, text = await rig.keys.create("short", valid_for=timedelta(microseconds=1))
        async with client(rig.server.url) as one:
            assert "expired" in (await one.call("auth", key=text))["message"]
            assert await one.ended() == CloseReason.BAD_KEY

    async def test_the_first_message_is_the_key(self, rig: Rig) -> None:
        async with client(rig.server.url) as one:
            assert (await one.call("subscribe", topics=[TOPIC]))["code"] == "not authenticated"
            assert await one.ended() == CloseReason.NOT_AUTHENTICATED

    async def test_who_shows_no_key_in_time_is_cut(self, redis: Redis, tmp_path: Path) -> None:
        async with serving(redis, tmp_path, auth_s=0.1) as rig, client(rig.server.url) as one:
            assert await one.ended() == CloseReason.NOT_AUTHENTICATED

    async def test_who_does_not_even_shake_hands_is_dropped(
        self, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("botctl.realtime.server.OPEN_S", 0.1)
        async with serving(redis, tmp_path) as rig:
            host, port = rig.http.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            assert await reader.read() == b""
            writer.close()
            await until(lambda: not rig.server.connections.clients)

    @pytest.mark.parametrize("text", ["", "[]", '{"type":"dance"}', '{"type":"ping","id":[]}', "[" * 10_000])
    async def test_a_message_that_is_none_ends_the_connection(self, rig: Rig, text: str) -> None:
        async with client(rig.server.url, await rig.key()) as one:
            await one.connection.send(text)
            assert await one.ended() == CloseReason.BAD_MESSAGE
            assert one.of("error")[0]["code"] == "bad message"

    @pytest.mark.parametrize(
        "name",
        ["\u00e9" * 64, "x\u20ac" * 32, "\U0001f600" * 64, "\u202e" * 64, "\ud800" * 64],
        ids=["two bytes", "one and three bytes", "four bytes", "overrides", "surrogates"],
    )
    async def test_a_long_reason_is_cut_and_does_not_lose_the_code(self, rig: Rig, name: str) -> None:
        """It quotes the client, before anybody has shown a key; a close frame has 123 bytes for it."""
        async with client(rig.server.url) as one:
            await one.connection.send(json.dumps({"type": "subscribe", "topics": ["a"], "after": {name: {}}}))
            assert await one.ended() == CloseReason.BAD_MESSAGE
            reason = one.connection.close_reason or ""
            assert reason.startswith("after names ")
            assert reason.isprintable()
            assert 110 < len(reason.encode()) <= 123

    async def test_a_message_that_is_too_large_ends_the_connection(self, rig: Rig) -> None:
        async with client(rig.server.url, await rig.key()) as one:
            await one.connection.send("x" * 20_000)
            assert await one.ended() == 1009

    async def test_connections_per_key_are_limited(self, redis: Redis, tmp_path: Path) -> None:
        async with serving(redis, tmp_path, connections_per_key=1) as rig:
            key = await rig.key()
            url = rig.server.url
            async with client(url, key), client(url, await rig.key()), client(url) as second:
                await second.call("auth", key=key)
                assert await second.ended() == CloseReason.TOO_MANY_CONNECTIONS
            await until(lambda: not rig.server.connections.clients)
            async with client(rig.server.url, key):
                pass

    async def test_connections_per_address_are_limited(self, redis: Redis, tmp_path: Path) -> None:
        async with serving(redis, tmp_path, connections_per_address=1) as rig:
            async with client(rig.server.url):
                with pytest.raises(InvalidStatus) as refused:
                    await connect(rig.server.url)
                assert refused.value.response.status_code == 429
            await until(lambda: not rig.server.connections.clients)
            async with client(rig.server.url):
                pass

    async def test_connects_per_address_are_throttled(self, redis: Redis, tmp_path: Path) -> None:
        async with serving(redis, tmp_path, connect_throttle="1/1h per address") as rig:
            async with client(rig.server.url):
                pass
            with pytest.raises(InvalidStatus, match="429"):
                await connect(rig.server.url)

    async def test_connections_are_limited(self, redis: Redis, tmp_path: Path) -> None:
        async with serving(redis, tmp_path, connections=1) as rig, client(rig.server.url):
            with pytest.raises((OSError, ConnectionClosed, EOFError, Exception)) as refused:
                await connect(rig.server.url)
            assert not isinstance(refused.value, AssertionError)
            assert rig.server.connections.counts.turned_away == 1

    async def test_one_address_that_says_nothing_does_not_fill_the_room(self, redis: Redis, tmp_path: Path) -> None:
        """Its sockets count before there is a request."""
        async with (
            serving(redis, tmp_path, connections_per_address=2, connections=5) as rig,
            contextlib.AsyncExitStack() as stack,
        ):
            host, port = rig.http.removeprefix("http://").split(":")
            counts = rig.server.connections.counts
            for _ in range(5):
                _, writer = await asyncio.open_connection(host, int(port))
                stack.callback(writer.close)
            await until(lambda: counts.opened + counts.turned_away == 5, what="all five to be seen")
            assert (counts.opened, counts.turned_away) == (3, 2)
            assert len(rig.server.connections.clients) == 3

    async def test_messages_are_throttled_and_say_when_to_go_on(self, redis: Redis, tmp_path: Path) -> None:
        limit = {"message_throttle": "2/1s per key"}
        async with serving(redis, tmp_path, **limit) as rig, client(rig.server.url, await rig.key()) as one:
            said = [await one.call("ping") for _ in range(3)]
            assert [each["type"] for each in said] == ["pong", "pong", "error"]
            assert (said[2]["code"], said[2]["temporary"]) == ("throttled", True)
            assert 0 < said[2]["retry_after_s"] <= 1
            assert (await one.call("ping"))["type"] == "pong"  # the server waited for us


class TestTopics:
    """Who hears what."""

    async def test_events_come_in_order_with_their_offsets(self, rig: Rig) -> None:
        async with client(rig.server.url, await rig.key(), TOPIC) as one:
            rig.say(50)
            await one.seen(50)
            assert one.offsets == list(range(1, 51))
            assert one.numbers == list(range(1, 51))
            event = one.of("event")[0]["event"]
            assert (event["type"], event["bot"], event["v"]) == ("drain.started", "bot", 1)

    async def test_a_key_opens_its_topics_only(self, rig: Rig) -> None:
        async with client(rig.server.url, await rig.key("commands")) as one:
            said = await one.call("subscribe", topics=["commands", TOPIC])
            assert (said["type"], said["code"]) == ("error", "forbidden")
            assert (await one.call("subscribe", topics=["commands"]))["type"] == "subscribe"
            rig.say()
            await rig.settled()
            assert (await one.call("ping"))["type"] == "pong"
            assert one.of("event") == []

    async def test_who_unsubscribes_hears_no_more(self, rig: Rig) -> None:
        key = await rig.key()
        async with client(rig.server.url, key, TOPIC) as one, client(rig.server.url, key, TOPIC) as other:
            rig.say(1)
            await one.seen(1)
            assert (await one.call("unsubscribe", topics=[TOPIC]))["topics"] == []
            rig.say(1)
            await other.seen(2)
            assert one.numbers == [1]
        await until(lambda: rig.server.hub.subscriptions == 0)

    async def test_topics_per_connection_are_limited(self, redis: Redis, tmp_path: Path) -> None:
        async with serving(redis, tmp_path, topics=2) as rig, client(rig.server.url, await rig.key(), "a", "b") as one:
            assert (await one.call("subscribe", topics=["c"]))["code"] == "too many topics"
            assert (await one.call("subscribe", topics=["a"]))["type"] == "subscribe"

    async def test_an_event_is_encoded_once_for_all(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        encoded = []
        real = __import__("botctl.realtime.hub", fromlist=["text_frame"]).text_frame
        monkeypatch.setattr("botctl.realtime.hub.text_frame", lambda data: encoded.append(data) or real(data))
        key = await rig.key()
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client(rig.server.url, key, TOPIC)) for _ in range(5)]
            rig.say(20)
            for one in clients:
                await one.seen(20)
        assert len(encoded) == 20


class TestRecovery:
    """Who comes back."""

    async def test_what_was_missed_comes_first_and_nothing_twice(self, rig: Rig) -> None:
        key = await rig.key()
        async with client(rig.server.url, key, TOPIC) as one:
            rig.say(5)
            await one.seen(5)
        rig.say(20)
        await rig.settled()
        async with client(rig.server.url, key) as back:
            said = await back.call("subscribe", topics=[TOPIC], after=one.position)
            assert said["topics"] == [{"topic": TOPIC, **one.position[TOPIC], "recovered": True}]
            rig.say(5)
            await back.seen(25)
            assert back.numbers == list(range(6, 31))
            assert back.offsets == list(range(6, 31))

    async def test_coming_back_while_events_come_loses_and_doubles_nothing(self, rig: Rig) -> None:
        """Again and again, at any moment of a stream: never so late that it is more than may be recovered."""
        key = await rig.key()
        numbers = [1]
        done = asyncio.Event()

        async def talk() -> None:
            while not done.is_set():
                if rig.said < numbers[-1] + 250:
                    rig.say(3)
                await asyncio.sleep(0.001)

        async with client(rig.server.url, key, TOPIC) as steady:
            rig.say()
            await steady.seen(1)
            after = steady.position
            talking = asyncio.create_task(talk())
            for _ in range(15):
                async with client(rig.server.url, key) as one:
                    (said,) = (await one.call("subscribe", topics=[TOPIC], after=after))["topics"]
                    assert said == {"topic": TOPIC, **after[TOPIC], "recovered": True}
                    await one.seen(7)
                    numbers += one.numbers
                    assert one.of("gap") == []
                    after = one.position
            done.set()
            await talking
            await until(lambda: steady.numbers[-1:] == [rig.said], what="the last event")
            assert numbers == list(range(1, numbers[-1] + 1))
            assert steady.numbers == list(range(1, rig.said + 1))

    @pytest.mark.parametrize("why", ["too many", "another epoch", "too large", "ahead"])
    async def test_what_cannot_be_whole_is_not_begun(self, redis: Redis, tmp_path: Path, why: str) -> None:
        async with serving(redis, tmp_path, recover=10, queue_bytes=8192) as rig:
            key = await rig.key()
            async with client(rig.server.url, key, TOPIC) as one:
                rig.say(1)
                await one.seen(1)
            after = one.position
            rig.say(11 if why == "too many" else 5, padding="x" * (2000 if why == "too large" else 1))
            await rig.settled()
            after[TOPIC] |= {"another epoch": {"epoch": "other"}, "ahead": {"offset": 10**9}}.get(why, {})
            async with client(rig.server.url, key) as back:
                said = (await back.call("subscribe", topics=[TOPIC], after=after))["topics"][0]
                assert (said["recovered"], said["offset"]) == (False, rig.said)
                rig.say(1)
                await back.seen(1)
                assert back.numbers == [rig.said]

    async def test_the_history_of_many_topics_does_not_cut_who_reads(self, redis: Redis, tmp_path: Path) -> None:
        """Together they may take what one may; the rest is told to be missing."""
        topics = [f"topic{n}" for n in range(40)]
        async with serving(redis, tmp_path, queue_bytes=65_536) as rig:
            for topic in topics:
                await rig.log.append(topic, [{"text": "x" * 1000}] * 11)
            epochs = {topic: (await rig.log.position(topic)).epoch for topic in topics}
            after = {topic: {"epoch": epoch, "offset": 1} for topic, epoch in epochs.items()}
            async with client(rig.server.url, await rig.key()) as one:
                said = await one.call("subscribe", topics=topics, after=after)
                assert [each["recovered"] for each in said["topics"]] == [True] * 2 + [False] * 38
                assert (await one.call("ping"))["type"] == "pong"
                assert [each["topic"] for each in one.of("event")] == ["topic0"] * 10 + ["topic1"] * 10
                again = await one.call("subscribe", topics=topics[2:4], after={t: after[t] for t in topics[2:4]})
                assert all(each["recovered"] for each in again["topics"])

    async def test_a_new_server_goes_on_where_the_old_one_was(self, redis: Redis, tmp_path: Path) -> None:
        database = MemoryDatabase()
        async with serving(redis, tmp_path, database=database) as rig:
            key = await rig.key()
            async with client(rig.server.url, key, TOPIC) as one:
                rig.say(3)
                await one.seen(3)
        async with serving(redis, tmp_path, database=database) as rig:
            rig.say(4)
            async with client(rig.server.url, key, TOPIC, after=one.position) as back:
                await back.seen(4)
                assert back.offsets == [4, 5, 6, 7]

    async def test_kill_9_of_redis_is_a_pause(self, tmp_path: Path) -> None:
        """Clients stay connected; no event is lost or doubled."""
        with server(embedded_redis.PART, tmp_path) as store:
            async with (
                redis_connect(store.url, timeout_s=5.0) as redis,
                serving(redis, tmp_path) as rig,
                client(rig.server.url, await rig.key(), TOPIC) as one,
            ):
                rig.say(10)
                await one.seen(10)
                store.kill()
                rig.say(10)
                store.start()
                rig.say(10)
                await one.seen(30)
                assert one.offsets == list(range(1, 31))

    async def test_a_redis_that_lost_everything_is_told_of(self, redis: Redis, rig: Rig) -> None:
        async with client(rig.server.url, await rig.key(), TOPIC) as one:
            rig.say(3)
            await one.seen(3)
            await redis.flushdb()
            rig.say(2)
            await one.seen(5)
            assert one.numbers == [1, 2, 3, 4, 5]
            assert one.offsets == [1, 2, 3, 1, 2]
            (gap,) = one.of("gap")
            assert gap["epoch"] != one.of("event")[0]["epoch"]
            assert (gap["topic"], gap["offset"]) == (TOPIC, 0)


class TestRevocation:
    """A key that holds no more."""

    async def test_who_is_connected_is_cut_by_the_event(self, rig: Rig) -> None:
        key, other = await rig.key(), await rig.key()
        async with client(rig.server.url, key, TOPIC) as one, client(rig.server.url, other, TOPIC) as two:
            await rig.keys.revoke(key.split("_")[1])
            assert await one.ended() == CloseReason.KEY_ENDED
            assert (await two.call("ping"))["type"] == "pong"
            async with client(rig.server.url) as again:
                assert "revoked" in (await again.call("auth", key=key))["message"]

    async def test_who_is_connected_is_cut_when_the_event_was_not_heard(
        self, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nor anything else: the key just is not there any more."""
        monkeypatch.setattr("botctl.realtime.connections.RECHECK_S", 0.05)
        database = MemoryDatabase()
        async with (
            serving(redis, tmp_path, database=database) as rig,
            client(rig.server.url, await rig.key()) as one,
        ):
            await database["botctl_api_keys"].delete_one({})
            assert await one.ended() == CloseReason.KEY_ENDED

    async def test_revoked_keys_are_forgotten_once_nobody_has_them(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("botctl.realtime.connections.RECHECK_S", 0.01)
        connections = rig.server.connections
        key = await rig.key()
        async with client(rig.server.url, key) as one:
            for _ in range(3):
                connections.cut_key((await rig.key()).split("_")[1])
            await rig.keys.revoke(key.split("_")[1])
            assert await one.ended() == CloseReason.KEY_ENDED
        await until(lambda: not connections.clients)
        rechecking = asyncio.create_task(connections.recheck(rig.keys, failed=lambda _: None))
        await until(lambda: not connections._revoked, what="the ids to be forgotten")
        rechecking.cancel()

    async def test_a_key_revoked_while_it_is_looked_up_does_not_open(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The answer of the database is on its way when the revocation is heard; it is not forgotten meanwhile."""
        key = await rig.key()
        real, looked, go_on = rig.keys.check, asyncio.Event(), asyncio.Event()

        async def slow(text: str) -> Any:
            found = await real(text)
            looked.set()
            await go_on.wait()
            return found

        rig.keys.check = slow  # type: ignore[method-assign]
        async with client(rig.server.url) as one:
            calling = asyncio.create_task(one.call("auth", key=key))
            await looked.wait()
            await rig.keys.revoke(key.split("_")[1])
            await until(lambda: key.split("_")[1] in rig.server.connections._revoked)
            monkeypatch.setattr("botctl.realtime.connections.RECHECK_S", 0)
            asked = asyncio.Event()
            monkeypatch.setattr(rig.keys, "valid_keys", _noting(rig.keys.valid_keys, asked))
            rechecking = asyncio.create_task(rig.server.connections.recheck(rig.keys, failed=lambda _: None))
            for _ in range(2):  # the second begins when the first is done
                await asked.wait()
                asked.clear()
            rechecking.cancel()
            go_on.set()
            assert (await calling)["type"] == "error"
            assert await one.ended() == CloseReason.KEY_ENDED

    async def test_while_keys_cannot_be_looked_up_nobody_new_comes_in(self, rig: Rig) -> None:
        async def away(_: str) -> Any:
            raise Unreachable("MongoDB is away")

        key = await rig.key()
        async with client(rig.server.url, key, TOPIC) as inside, client(rig.server.url) as outside:
            rig.keys.check = away  # type: ignore[method-assign]
            assert (await outside.call("auth", key=key))["temporary"]
            assert await outside.ended() == CloseReason.UNAVAILABLE
            assert (await inside.call("ping"))["type"] == "pong"


class TestStalledReaders:
    """A reader that does not read costs next to nothing: a bounded queue, no delay for others, no delay of the end."""

    async def test_ten_stalled_of_twenty(self, redis: Redis, tmp_path: Path) -> None:
        """Good readers get everything; what is kept for the stalled is bounded; in the end they are gone."""
        queue = 65_536
        async with (
            serving(redis, tmp_path, stall_s=0.5, queue_bytes=queue) as rig,
            contextlib.AsyncExitStack() as stack,
        ):
            key = await rig.key()
            connections = rig.server.connections
            good = [await stack.enter_async_context(client(rig.server.url, key, TOPIC)) for _ in range(10)]
            stalled = [await Stalled.open(rig.server.url, key) for _ in range(10)]
            for one in stalled:
                stack.callback(one.close)
            most = 0
            for _ in range(20):  # 4 MB for each
                rig.say(100, padding="x" * 2000)
                await good[0].seen(rig.said)
                most = max(most, *(each.held_bytes for each in connections.clients))
            for one in good:
                await one.seen(rig.said)
                assert one.numbers == list(range(1, 2001))
            await until(lambda: len(connections.clients) == 10, what="the stalled to be gone")
            assert most <= queue + 3 * 65_536
            assert connections.counts.ended == {"slow": 10}
            assert connections.held_bytes == 0
            assert (await good[0].call("ping"))["type"] == "pong"

    async def test_one_that_takes_nothing_is_cut_before_its_queue_is_full(self, redis: Redis, tmp_path: Path) -> None:
        async with serving(redis, tmp_path, stall_s=0.2, queue_bytes=50_000_000) as rig:
            one = await Stalled.open(rig.server.url, await rig.key())
            rig.say(400, padding="x" * 2000)
            await until(lambda: rig.server.connections.counts.ended == {"slow": 1}, what="the cut")
            one.close()

    async def test_one_that_reads_again_in_time_has_lost_nothing(self, redis: Redis, tmp_path: Path) -> None:
        async with serving(redis, tmp_path, stall_s=30, queue_bytes=8_000_000) as rig:
            one = await Stalled.open(rig.server.url, await rig.key())
            rig.say(500, padding="x" * 2000)
            await until(lambda: rig.server.connections.held_bytes > 500_000, what="a queue")
            said = b""
            async with asyncio.timeout(20):
                while said.count(b'"type":"event"') < 500:
                    said += await asyncio.get_running_loop().sock_recv(one.sock, 65_536)
            await until(lambda: rig.server.connections.held_bytes == 0)
            one.close()

    async def test_pings_of_one_that_does_not_read_fill_no_memory(self, rig: Rig) -> None:
        """Each ping has an answer, and the answers pile up."""
        one = await Stalled.open(rig.server.url, await rig.key())
        most = 0
        with contextlib.suppress(ConnectionError):
            for _ in range(400):
                await one.send(masked(b"x" * 125, opcode=9) * 1000)
                most = max(most, rig.server.connections.held_bytes)
                if not rig.server.connections.clients:
                    break
        await until(lambda: not rig.server.connections.clients, what="the cut")
        assert most < 1_500_000
        one.close()

    async def test_the_end_does_not_wait_for_the_stalled(self, redis: Redis, tmp_path: Path) -> None:
        """Nor for one that shakes no hands, nor for one that never answers the close frame."""
        async with asyncio.timeout(15):
            async with serving(redis, tmp_path, stall_s=60, queue_bytes=8_000_000, drain_s=0.3) as rig:
                key = await rig.key()
                stalled = [await Stalled.open(rig.server.url, key) for _ in range(5)]
                host, port = rig.http.removeprefix("http://").split(":")
                _, silent = await asyncio.open_connection(host, int(port))
                rig.say(400, padding="x" * 2000)
                await until(lambda: rig.server.connections.held_bytes > 5 * 300_000, what="queues")
                mute = await Stalled.open(rig.server.url, key, topics=("quiet",))
                async with client(rig.server.url, key, "quiet") as good:
                    ending = asyncio.create_task(rig.server.connections.drain(0.3))
                    assert await good.ended() == CloseReason.SHUTDOWN
                    assert 0.5 <= good.of("closing")[0]["retry_after_s"] <= 5
                    await ending
        assert not rig.server.connections.clients
        for one in (*stalled, mute):
            one.close()
        silent.close()

    async def test_a_close_that_nobody_answers_ends_in_an_abort(self, rig: Rig) -> None:
        one = await Stalled.open(rig.server.url, await rig.key())
        await one.send(masked(b"nonsense"))
        await until(lambda: not rig.server.connections.clients, what="the abort")
        one.close()


class TestHeartbeats:
    """Signs of life, in both directions."""

    async def test_they_come_and_pings_are_sent(self, redis: Redis, tmp_path: Path) -> None:
        async with serving(redis, tmp_path, heartbeat_s=0.2) as rig, client(rig.server.url, await rig.key()) as one:
            await until(lambda: len(one.of("heartbeat")) >= 2, what="heartbeats")
            assert rig.server.connections.clients  # its library has answered the pings

    async def test_who_answers_no_ping_is_cut(self, redis: Redis, tmp_path: Path) -> None:
        async with serving(redis, tmp_path, heartbeat_s=0.1) as rig:
            one = await Stalled.open(rig.server.url, await rig.key())
            await until(lambda: rig.server.connections.counts.ended == {"silent": 1}, what="the cut")
            one.close()


class TestPages:
    """Plain HTTP on the same port."""

    async def test_pages(self, rig: Rig) -> None:
        async with aiohttp.ClientSession() as http, client(rig.server.url, await rig.key(), TOPIC):
            async with http.get(f"{rig.http}/healthz") as answer:
                assert (answer.status, await answer.json()) == (200, {"alive": True})
            async with http.get(f"{rig.http}/readyz") as answer:
                assert (answer.status, (await answer.json())["ready"]) == (200, True)
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

    async def test_not_ready_says_what_is_not(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("botctl.realtime.http.HEALTH_S", 0)

        async def health(timeout_s: float = 2.0) -> list[ServiceHealth]:
            return [ServiceHealth("redis", False, 1.0, "it hurts"), ServiceHealth("realtime", True, 1.0, "")]

        monkeypatch.setattr(rig.running, "health", health)
        async with aiohttp.ClientSession() as http, http.get(f"{rig.http}/readyz") as answer:
            assert answer.status == 503
            told = await answer.json()
            assert told["ready"] is False
            assert told["not_ready"] == {"redis": {"state": "idle", "detail": "it hurts"}}

    async def test_others_find_the_port(self, rig: Rig, tmp_path: Path) -> None:
        part = Runtime(tmp_path).live()["realtime"]
        assert part.address == rig.server.url
        assert json.loads((tmp_path / ".botctl" / "runtime.json").read_text())

    async def test_an_address_that_is_taken_is_a_sentence(self, rig: Rig, redis: Redis, tmp_path: Path) -> None:
        port = int(rig.http.rpartition(":")[2])
        with pytest.raises(ConfigError, match=f"port {port}"):
            async with serving(redis, tmp_path, port=port):
                pass

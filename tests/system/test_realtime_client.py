"""`botctl.client` on a real server: it reads, recovers, connects again, and ends when that cannot help."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from websockets.asyncio.server import serve

from botctl.client import ConnectionEnded, EventGap, OutcomeUnknown, RealtimeClient, RequestFailed, WatchedState
from botctl.client.client import EventItem
from botctl.core.contracts.event_log import Position
from botctl.core.contracts.jobs import Job
from botctl.core.contracts.schedule import parse
from botctl.jobs.store import MongoJobStore
from botctl.stores.mongo import Database
from tests.support.realtime import TOPIC, Rig, serving
from tests.support.waiting import LIMIT_S, expires, until


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botctl.realtime.server.CLOSE_GRACE_S", 0.2)
    monkeypatch.setattr("botctl.client.client._FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr("botctl.realtime.states.EVERY_S", 0.02)


@pytest.fixture
async def rig(redis: Redis, tmp_path: Path) -> AsyncIterator[Rig]:
    async with serving(redis, tmp_path) as running:
        yield running


async def take(events: AsyncIterator[EventItem], count: int) -> list[EventItem]:
    async with asyncio.timeout(LIMIT_S):
        return [await anext(events) for _ in range(count)]


def numbers(items: list[EventItem]) -> list[object]:
    return [None if isinstance(item, EventGap) else item.data["in_flight"] for item in items]


async def began(client: RealtimeClient, events: AsyncIterator[EventItem]) -> asyncio.Task[EventItem]:
    """Begin to read; the task has the first event. Returns when the server has confirmed."""
    first = asyncio.ensure_future(anext(events))
    await until(lambda: TOPIC in client.positions, what="the subscription")
    return first  # type: ignore[return-value]


async def next_state(states: AsyncIterator[WatchedState], key: str) -> Mapping[str, Any]:
    async with asyncio.timeout(LIMIT_S):
        return (await anext(states)).items[key]


async def add_job(rig: Rig) -> None:
    async def clean() -> None: ...

    await MongoJobStore.of(rig.running.get(Database)).get(Job("cleanup", clean, parse("every 1h")), datetime.now(UTC))


async def disconnect(rig: Rig) -> None:
    """Break the connections of all clients, as a network does."""
    for client in tuple(rig.server.connections.clients):
        client.transport.abort()
    await until(lambda: not rig.server.connections.clients, what="the end of the connections")


class TestEvents:
    async def test_events_come_in_order_over_broken_connections(self, rig: Rig) -> None:
        async with RealtimeClient(rig.server.url, await rig.key()) as client:
            events = client.events(TOPIC)
            first = await began(client, events)
            rig.publish(1)
            received = [await first]
            for _ in range(3):
                await disconnect(rig)
                rig.publish(2)
                received += await take(events, 2)
            assert numbers(received) == [1, 2, 3, 4, 5, 6, 7]
            assert [item.position.offset for item in received] == list(range(1, 8))
            assert client.reconnects >= 3

    async def test_position_is_that_of_the_last_event_whose_reader_asked_for_another(self, rig: Rig) -> None:
        key = await rig.key()
        async with RealtimeClient(rig.server.url, key) as client:
            events = client.events(TOPIC)
            first = await began(client, events)
            rig.publish(5)
            await first
            await take(events, 2)  # the third one is being handled when the program is killed
            stored = json.dumps(client.positions)
        async with RealtimeClient(rig.server.url, key, positions=json.loads(stored)) as client:
            assert numbers(await take(client.events(TOPIC), 3)) == [3, 4, 5]

    async def test_lost_events_are_a_gap(self, rig: Rig) -> None:
        rig.publish(3)
        await rig.wait_for_relay()
        positions = {TOPIC: Position("another", 40)}
        async with RealtimeClient(rig.server.url, await rig.key(), positions=positions) as client:
            (gap,) = await take(client.events(TOPIC), 1)
            assert isinstance(gap, EventGap)
            assert gap.position.offset == 3

    async def test_end_of_reading_ends_the_subscription(self, rig: Rig) -> None:
        async with RealtimeClient(rig.server.url, await rig.key()) as client:
            events = client.events(TOPIC)
            first = await began(client, events)
            with pytest.raises(ValueError, match="reads system already"):
                await anext(client.events(TOPIC))
            rig.publish(1)
            await first
            await events.aclose()  # type: ignore[attr-defined]
            await until(lambda: rig.server.hub.subscriptions == 0)

    async def test_slow_reader_does_not_fill_the_memory(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("botctl.client.client.MAX_WAITING", 10)
        async with RealtimeClient(rig.server.url, await rig.key()) as client:
            events = client.events(TOPIC)
            first = await began(client, events)
            for _ in range(20):
                rig.publish(10)
            await first
            stream = client._streams[TOPIC]
            received = 1
            while received < 200:
                assert len(stream) <= 10 + 1
                await take(events, 1)
                received += 1


class TestStatesAndActions:
    async def test_state_follows_actions_over_a_broken_connection(self, rig: Rig) -> None:
        """The client pauses a job, sees it in the state, and the audit log says who and why."""
        await add_job(rig)
        key, text = await rig.keys.create("ops", permissions=["jobs:*"])
        async with RealtimeClient(rig.server.url, text) as client:
            states = client.watch("jobs")
            assert not (await next_state(states, "cleanup"))["paused"]
            done = await client.do("jobs.pause", job="cleanup", reason="too noisy")
            assert done == {"job": "cleanup", "paused": True, "changed": True}
            assert (await next_state(states, "cleanup"))["paused"]
            await disconnect(rig)
            again = await next_state(states, "cleanup")
            assert again["paused"]
            await client.do("jobs.resume", job="cleanup", reason="quiet again")
            assert not (await next_state(states, "cleanup"))["paused"]
            await states.aclose()  # type: ignore[attr-defined]
            await until(lambda: rig.server.states.watches == 0)
            assert {action["action"] for action in await client.actions()} == {"jobs.run", "jobs.pause", "jobs.resume"}
        audited = [(e.action, e.actor.id, e.reason) for e in rig.auditor.entries if e.actor.type == "key"]
        assert audited == [("job.pause", key.id, "too noisy"), ("job.resume", key.id, "quiet again")]

    @pytest.mark.parametrize(
        ("action", "arguments", "code"),
        [
            ("jobs.pause", {"job": "nothing"}, "not found"),
            ("jobs.stop", {"job": "cleanup"}, "bad request"),
            ("limits.reset", {"subject": "user:1"}, "forbidden"),
            ("jobs.run", {"job": "cleanup"}, "held"),
        ],
    )
    async def test_refused_action_says_why(self, rig: Rig, action: str, arguments: dict[str, str], code: str) -> None:
        await add_job(rig)
        async with RealtimeClient(rig.server.url, (await rig.keys.create("ops", permissions=["jobs:*"]))[1]) as client:
            with pytest.raises(RequestFailed) as refused:
                await client.do(action, reason="why not", **arguments)
            assert refused.value.code == code

    async def test_forbidden_state_fails_its_reader(self, rig: Rig) -> None:
        async with RealtimeClient(rig.server.url, await rig.key()) as client:
            with pytest.raises(RequestFailed, match="jobs:read"):
                await anext(client.watch("jobs"))


class TestEnds:
    async def test_forbidden_topic_fails_its_reader_only(self, rig: Rig) -> None:
        async with RealtimeClient(rig.server.url, await rig.key("commands")) as client:
            with pytest.raises(RequestFailed, match="may not read system") as refused:
                await anext(client.events(TOPIC))
            assert refused.value.code == "forbidden"
            assert not refused.value.temporary

    async def test_what_is_no_topic_is_refused_before_it_is_sent(self, rig: Rig) -> None:
        """The server would close the connection, and end all readers. The key comes from a file, with its newline."""
        async with RealtimeClient(rig.server.url, f"{await rig.key()}\n") as client:
            for topics in ((), ("",), ("no topic",)):
                with pytest.raises(ValueError, match="is not the name of a topic"):
                    await anext(client.events(*topics))
            first = await began(client, client.events(TOPIC))
            first.cancel()

    async def test_unknown_key_is_refused_at_the_start(self, rig: Rig) -> None:
        with pytest.raises(ConnectionEnded) as ended:
            async with RealtimeClient(rig.server.url, "botctl_nothing"):
                pass
        assert ended.value.code == 4501
        assert str(ended.value).startswith("the key is refused: ")

    async def test_revoked_key_is_named_at_the_start(self, rig: Rig) -> None:
        async with RealtimeClient(rig.server.url, key := await rig.key()):
            pass
        await rig.keys.revoke((await rig.keys.list())[0].id)
        with pytest.raises(ConnectionEnded) as ended:
            async with RealtimeClient(rig.server.url, key):
                pass
        assert (str(ended.value), ended.value.code) == ("the key was revoked", 4501)

    @pytest.mark.parametrize(
        "url", ["http://127.0.0.1:8750/realtime", "127.0.0.1:8750", "", "ws://[::1/", "ws://:70000"]
    )
    async def test_address_that_cannot_be_one(self, url: str) -> None:
        with pytest.raises(ConnectionEnded, match="is not the address of a realtime server: ") as ended:
            async with RealtimeClient(url, "k"):
                pass
        assert ended.value.code is None

    async def test_revoked_key_ends_the_readers(self, rig: Rig) -> None:
        async with RealtimeClient(rig.server.url, await rig.key()) as client:
            first = await began(client, client.events(TOPIC))
            await rig.keys.revoke((await rig.keys.list())[0].id)
            with pytest.raises(ConnectionEnded) as ended:
                await asyncio.wait_for(first, LIMIT_S)
            assert ended.value.code == 4507
            assert str(ended.value) == "the key has ended: it was revoked or replaced, or has expired"
            with pytest.raises(ConnectionEnded):
                await anext(client.events(TOPIC))
            with pytest.raises(ConnectionEnded):
                await client.actions()

    async def test_nothing_listens(self, unused_tcp_port: int) -> None:
        with pytest.raises(ConnectionEnded, match="could not be reached within") as ended:
            async with RealtimeClient(f"ws://127.0.0.1:{unused_tcp_port}/realtime", "k", connect_s=expires(0.2)):
                pass
        assert ended.value.code is None

    async def test_another_kind_of_server(self) -> None:
        async with serve(lambda connection: connection.send('{"op":10}'), "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(ConnectionEnded, match="does not speak the protocol"):
                async with RealtimeClient(f"ws://127.0.0.1:{port}", "k"):
                    pass

    async def test_action_without_a_reply_is_not_repeated(self) -> None:
        """A server that ends the connection at each action: the client asks once, and says that it does not know."""
        asked = []

        async def handle(connection):  # type: ignore[no-untyped-def]
            await connection.send(json.dumps({"type": "hello", "heartbeat_s": 25}))
            async for text in connection:
                message = json.loads(text)
                if message["type"] == "do":
                    asked.append(message)
                    connection.transport.abort()
                    return
                await connection.send(json.dumps({"type": message["type"], "id": message["id"]}))

        async with serve(handle, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with RealtimeClient(f"ws://127.0.0.1:{port}", "k") as client:
                with pytest.raises(OutcomeUnknown):
                    await client.do("jobs.run", job="cleanup", reason="now")
                await until(lambda: client.reconnects == 1)
            assert len(asked) == 1
            assert asked[0]["reason"] == "now"

    async def test_silent_server_is_left(self) -> None:
        """Heartbeats that stay away mean that the connection is dead, though no socket says so."""
        connects = []

        async def handle(connection):  # type: ignore[no-untyped-def]
            connects.append(connection)
            await connection.send(json.dumps({"type": "hello", "heartbeat_s": expires(0.05)}))
            await connection.send(json.dumps({"type": "auth", "id": 0}))
            await connection.wait_closed()

        async with serve(handle, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with RealtimeClient(f"ws://127.0.0.1:{port}", "k"):
                await until(lambda: len(connects) >= 3)

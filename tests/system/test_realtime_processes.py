"""Two processes on the same stores: who loses a right loses its connections in both, by the event and at once.

The regular checks, which would find it too, never run here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis

from botctl.core.contracts.access import Holder, HolderType, Requester
from botctl.core.contracts.grants import GrantStore
from botctl.realtime.protocol import CloseReason
from tests.support.realtime import TOPIC, Client, Rig, open_client, serving
from tests.support.realtime_process import NEVER_S, REGULAR_CHECKS, realtime_process
from tests.support.stores import Database
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def _no_regular_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in REGULAR_CHECKS:
        monkeypatch.setattr(name, NEVER_S)
    monkeypatch.setattr("botctl.realtime.server.CLOSE_GRACE_S", 0.2)


async def revoke(rig: Rig, key_id: str) -> None:
    await rig.keys.revoke(key_id)


async def rotate_now(rig: Rig, key_id: str) -> None:
    await rig.keys.rotate(key_id, overlap=timedelta(0))


async def take_grant_back(rig: Rig, key_id: str) -> None:
    await rig.running.get(GrantStore).revoke("viewer", Holder(HolderType.KEY, key_id), reason="no dashboard")


async def revoke_by_action(rig: Rig, key_id: str) -> None:
    _, text = await rig.keys.create("admin", permissions=["keys:admin"])
    async with open_client(rig.server.url, text) as admin:
        reply = await admin.request("do", action="keys.revoke", args={"key": key_id}, reason="it leaked")
        assert reply["type"] == "done"


WAYS: Mapping[Callable[[Rig, str], Awaitable[None]], CloseReason] = {
    revoke: CloseReason.KEY_ENDED,
    rotate_now: CloseReason.KEY_ENDED,
    revoke_by_action: CloseReason.KEY_ENDED,
    take_grant_back: CloseReason.ACCESS_CHANGED,
}


async def test_sockets_close_in_every_process(
    redis: Redis, redis_server: str, mongo_server: str, mongo_db: Database, tmp_path: Path
) -> None:
    async with (
        serving(redis, tmp_path, database=mongo_db) as rig,
        realtime_process(redis_server, mongo_server, mongo_db.name, tmp_path) as other_url,
        AsyncExitStack() as stack,
    ):

        async def on_both(text: str, *topics: str) -> list[Client]:
            urls = (rig.server.url, other_url)
            return [await stack.enter_async_context(open_client(url, text, *topics)) for url in urls]

        bystanders = await on_both(await rig.key(), TOPIC)
        for lose, code in WAYS.items():
            key, text = await rig.keys.create("test", permissions=["events:jobs"])
            await grant_on_both(rig, key.id, await on_both(text))
            subscribers, watchers = await on_both(text, TOPIC), await on_both(text)
            for watcher in watchers:
                assert (await watcher.request("watch", states=["jobs"]))["type"] == "watch"
            await lose(rig, key.id)
            assert [await client.wait_closed() for client in (*subscribers, *watchers)] == [code] * 4
        assert [(await client.request("ping"))["type"] for client in bystanders] == ["pong"] * 2


async def grant_on_both(rig: Rig, key_id: str, probes: list[Client]) -> None:
    """Grant the key the role viewer, and wait until both processes know of it."""
    holder = Holder(HolderType.KEY, key_id)
    await rig.running.get(GrantStore).grant("viewer", holder, reason="a dashboard")
    await until(lambda: rig.access.decide(Requester(holder), f"events:{TOPIC}").allowed, what="the grant")
    for probe in probes:

        async def may_subscribe(probe: Client = probe) -> bool:
            return (await probe.request("subscribe", topics=[TOPIC]))["type"] == "subscribe"

        await until(may_subscribe, what="the grant")
        await probe.request("unsubscribe", topics=[TOPIC])

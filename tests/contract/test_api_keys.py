"""API keys in MongoDB: shown once, stored as a hash, revoked at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pymongo.errors import ServerSelectionTimeoutError

from botctl.auth.api_keys import COLLECTION, MongoKeys, api_keys
from botctl.core.contracts.api_keys import KeyRefused
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.event_log import Position
from botctl.core.contracts.events import Event, KeyCreated, KeyRevoked
from botctl.core.errors import Unreachable, UsageError
from tests.support.clock import ManualClock
from tests.support.realtime import RecordingAuditor
from tests.support.stores import tasks_for


class FakeEventLog:
    """An event log with one topic."""

    def __init__(self) -> None:
        self.asked = 0

    async def topics(self) -> dict[str, Position]:
        self.asked += 1
        return {"games.scores": Position("e", 1)}


class KeyRig:
    """API keys, and the events and audit entries that they cause."""

    def __init__(self, database: Any) -> None:
        self.database = database
        self.log: Any = FakeEventLog()
        self.bus, self.auditor, self.clock = Bus(), RecordingAuditor(), ManualClock()
        self.events: list[Event] = []
        self.keys = MongoKeys(database[COLLECTION], self.log, self.bus, self.auditor, self.clock)

    @property
    def actions(self) -> list[str]:
        return [entry.action for entry in self.auditor.entries]


@pytest.fixture
def rig(documents: Any) -> Any:
    rig = KeyRig(documents)
    with rig.bus.listen(rig.events.append, Event):
        yield rig


async def test_key_is_accepted_by_its_text(rig: KeyRig) -> None:
    key, text = await rig.keys.create("dashboard", topics=["commands"])
    found = await rig.keys.check(text)
    assert (found.id, found.name, found.topics) == (key.id, "dashboard", ("commands",))
    assert found.may_read("commands")
    assert not found.may_read("services")


async def test_text_of_key_is_stored_nowhere(rig: KeyRig) -> None:
    _, text = await rig.keys.create("dashboard")
    secret = text.split("_")[2]
    (stored,) = await rig.database[COLLECTION].find({}).to_list()
    traces = f"{stored} {rig.events} {rig.auditor.entries}"
    assert secret not in traces
    assert secret[:20] not in traces


async def test_key_with_wrong_secret_is_refused(rig: KeyRig) -> None:
    """The id and the checksum are right."""
    from botctl.auth.key_format import _checksum

    _, text = await rig.keys.create("one")
    body = text[:-7] + ("0" if text[-7] != "0" else "1")
    with pytest.raises(KeyRefused, match="no such key"):
        await rig.keys.check(body + _checksum(body))
    with pytest.raises(KeyRefused, match="not the whole text"):
        await rig.keys.check(text[:-1])


async def test_revoked_key_is_refused_at_once(rig: KeyRig) -> None:
    key, text = await rig.keys.create("one")
    revoked, newly_revoked = await rig.keys.revoke(key.id)
    assert (revoked.revoked_at, newly_revoked) == (rig.clock.now(), True)
    with pytest.raises(KeyRefused, match="revoked"):
        await rig.keys.check(text)
    assert await rig.keys.active([key.id]) == {}


async def test_second_revoke_only_publishes_the_event_again(rig: KeyRig) -> None:
    """The first event may be lost, so it is published again. There is one audit entry."""
    key, _ = await rig.keys.create("one")
    first, _ = await rig.keys.revoke(key.id)
    rig.clock.advance(60)
    again, newly_revoked = await rig.keys.revoke(key.id)
    assert (again.revoked_at, newly_revoked) == (first.revoked_at, False)
    assert rig.actions == ["key.create", "key.revoke"]
    assert [type(event) for event in rig.events] == [KeyCreated, KeyRevoked, KeyRevoked]


async def test_revoke_of_unknown_key_is_refused(rig: KeyRig) -> None:
    with pytest.raises(UsageError, match="no key 'missing'"):
        await rig.keys.revoke("missing")


async def test_key_is_refused_after_its_expiry(rig: KeyRig) -> None:
    key, text = await rig.keys.create("short", expires_in=timedelta(minutes=1))
    rig.clock.advance(59)
    assert set(await rig.keys.active([key.id])) == {key.id}
    await rig.keys.check(text)
    rig.clock.advance(1)
    with pytest.raises(KeyRefused, match="expired"):
        await rig.keys.check(text)
    assert await rig.keys.active([key.id, "other"]) == {}


async def test_uses_are_counted_and_written_in_batches(rig: KeyRig) -> None:
    key, text = await rig.keys.create("busy")
    for _ in range(5):
        await rig.keys.check(text)
    rig.clock.advance(5)
    await rig.keys.check(text)
    (before,) = await rig.keys.list()
    assert before.uses == 0
    await rig.keys.write_uses()
    await rig.keys.write_uses()
    (after,) = await rig.keys.list()
    assert (after.id, after.uses, after.used_at) == (key.id, 6, rig.clock.now())
    assert rig.actions == ["key.create", "key.use"]
    assert rig.auditor.entries[1].changes[0].new == 6


class Away:
    """A collection that does not answer."""

    def __getattr__(self, name: str) -> Any:
        raise ServerSelectionTimeoutError("no server")


async def test_unwritten_uses_stay_counted(rig: KeyRig) -> None:
    _, text = await rig.keys.create("busy")
    await rig.keys.check(text)
    real, rig.keys.collection = rig.keys.collection, Away()  # type: ignore[assignment]
    with pytest.raises(Unreachable, match="MongoDB failed"):
        await rig.keys.write_uses()
    with pytest.raises(Unreachable, match="MongoDB failed"):
        await rig.keys.check(text)
    rig.keys.collection = real
    await rig.keys.check(text)
    await rig.keys.write_uses()
    assert (await rig.keys.list())[0].uses == 2


async def test_purge_deletes_keys_that_ended_long_ago(rig: KeyRig) -> None:
    good, _ = await rig.keys.create("good")
    short, _ = await rig.keys.create("short", expires_in=timedelta(minutes=1))
    revoked, _ = await rig.keys.create("revoked")
    await rig.keys.revoke(revoked.id)
    rig.clock.advance(3600)
    assert await rig.keys.purge(ended_for=timedelta(hours=2)) == 0
    assert await rig.keys.purge(ended_for=timedelta(minutes=30)) == 2
    assert [key.id for key in await rig.keys.list()] == [good.id]
    assert short.id != good.id


@pytest.mark.parametrize("name", ["", " x", "x" * 65, "a\nb"], ids=["empty", "space", "long", "lines"])
async def test_invalid_name_is_refused(rig: KeyRig, name: str) -> None:
    with pytest.raises(UsageError, match="not a valid name"):
        await rig.keys.create(name)


@pytest.mark.parametrize(
    ("topic", "meant"), [("comands", "; did you mean commands?"), ("No Topic", "."), ("game.scores", "games.scores?")]
)
async def test_unknown_topic_is_refused_with_all_topics(rig: KeyRig, topic: str, meant: str) -> None:
    """No key is created, and the hint lists all topics, the operator's own too."""
    with pytest.raises(UsageError) as refused:
        await rig.keys.create("x", topics=["commands", topic])
    assert f"there is no topic {topic!r}" in str(refused.value)
    assert str(refused.value).endswith(meant)
    assert {"commands,", "services,", "games.scores,"} <= set(refused.value.hint.replace(";", ",").split())
    assert await rig.keys.list() == []


async def test_key_without_topics_is_refused(rig: KeyRig) -> None:
    with pytest.raises(UsageError, match="without topics"):
        await rig.keys.create("x", topics=[])


async def test_known_topics_are_accepted(rig: KeyRig) -> None:
    """The event log is read only for the operator's own topics."""
    await rig.keys.create("x", topics=["commands", "*"])
    assert rig.log.asked == 0
    key, _ = await rig.keys.create("y", topics=["services", "games.scores"])
    assert key.may_read("games.scores")


async def test_service_writes_uses_at_stop(documents: Any) -> None:
    rig = KeyRig(documents)
    async with (
        tasks_for("keys") as (tasks, _),
        api_keys(
            database=documents, log=rig.log, bus=rig.bus, auditor=rig.auditor, clock=rig.clock, tasks=tasks
        ) as keys,
    ):
        _, text = await keys.create("x")
        await keys.check(text)
    assert (await rig.keys.list())[0].uses == 1

"""API keys in MongoDB: shown once, kept as a hash, revoked at once."""

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
from tests.support.realtime import Auditing
from tests.support.stores import tasks_for


class Topics:
    """An event log that knows its topics."""

    def __init__(self) -> None:
        self.asked = 0

    async def topics(self) -> dict[str, Position]:
        self.asked += 1
        return {"games.scores": Position("e", 1)}


class Office:
    """Keys and what they tell."""

    def __init__(self, database: Any) -> None:
        self.database = database
        self.log: Any = Topics()
        self.bus, self.auditor, self.clock = Bus(), Auditing(), ManualClock()
        self.events: list[Event] = []
        self.keys = MongoKeys(database[COLLECTION], self.log, self.bus, self.auditor, self.clock)

    @property
    def actions(self) -> list[str]:
        return [entry.action for entry in self.auditor.entries]


@pytest.fixture
def office(documents: Any) -> Any:
    office = Office(documents)
    with office.bus.listen(office.events.append, Event):
        yield office


async def test_a_key_opens_with_its_text(office: Office) -> None:
    key, text = await office.keys.create("dashboard", topics=["commands"])
    found = await office.keys.check(text)
    assert (found.id, found.name, found.topics) == (key.id, "dashboard", ("commands",))
    assert found.may_read("commands")
    assert not found.may_read("services")


async def test_the_text_is_kept_nowhere(office: Office) -> None:
    _, text = await office.keys.create("dashboard")
    secret = text.split("_")[2]
    (kept,) = await office.database[COLLECTION].find({}).to_list()
    told = f"{kept} {office.events} {office.auditor.entries}"
    assert secret not in told
    assert secret[:20] not in told


async def test_a_key_with_another_secret_is_no_key(office: Office) -> None:
    """Even where the id is right, and the checksum."""
    from botctl.auth.key_format import _checksum

    _, text = await office.keys.create("one")
    body = text[:-7] + ("0" if text[-7] != "0" else "1")
    with pytest.raises(KeyRefused, match="no such key"):
        await office.keys.check(body + _checksum(body))
    with pytest.raises(KeyRefused, match="not the whole text"):
        await office.keys.check(text[:-1])


async def test_a_revoked_key_opens_nothing_from_that_moment(office: Office) -> None:
    key, text = await office.keys.create("one")
    revoked, anew = await office.keys.revoke(key.id)
    assert (revoked.revoked_at, anew) == (office.clock.now(), True)
    with pytest.raises(KeyRefused, match="revoked"):
        await office.keys.check(text)
    assert await office.keys.valid_keys([key.id]) == {}


async def test_revoking_again_changes_nothing_and_tells_again(office: Office) -> None:
    """Whoever is not sure that the first was heard may repeat it; on the record it is once."""
    key, _ = await office.keys.create("one")
    first, _ = await office.keys.revoke(key.id)
    office.clock.advance(60)
    again, anew = await office.keys.revoke(key.id)
    assert (again.revoked_at, anew) == (first.revoked_at, False)
    assert office.actions == ["key.create", "key.revoke"]
    assert [type(event) for event in office.events] == [KeyCreated, KeyRevoked, KeyRevoked]


async def test_an_unknown_key_cannot_be_revoked(office: Office) -> None:
    with pytest.raises(UsageError, match="no key 'nobody'"):
        await office.keys.revoke("nobody")


async def test_a_key_ends_at_its_time(office: Office) -> None:
    key, text = await office.keys.create("short", valid_for=timedelta(minutes=1))
    office.clock.advance(59)
    assert set(await office.keys.valid_keys([key.id])) == {key.id}
    await office.keys.check(text)
    office.clock.advance(1)
    with pytest.raises(KeyRefused, match="expired"):
        await office.keys.check(text)
    assert await office.keys.valid_keys([key.id, "other"]) == {}


async def test_uses_are_counted_and_written_together(office: Office) -> None:
    key, text = await office.keys.create("busy")
    for _ in range(5):
        await office.keys.check(text)
    office.clock.advance(5)
    await office.keys.check(text)
    (before,) = await office.keys.list()
    assert before.uses == 0
    await office.keys.write_uses()
    await office.keys.write_uses()
    (after,) = await office.keys.list()
    assert (after.id, after.uses, after.used_at) == (key.id, 6, office.clock.now())
    assert office.actions == ["key.create", "key.use"]
    assert office.auditor.entries[1].changes[0].new == 6


class Away:
    """A collection that does not answer."""

    def __getattr__(self, name: str) -> Any:
        raise ServerSelectionTimeoutError("nobody there")


async def test_uses_that_cannot_be_written_are_counted_on(office: Office) -> None:
    _, text = await office.keys.create("busy")
    await office.keys.check(text)
    real, office.keys.collection = office.keys.collection, Away()  # type: ignore[assignment]
    with pytest.raises(Unreachable, match="MongoDB failed"):
        await office.keys.write_uses()
    with pytest.raises(Unreachable, match="MongoDB failed"):
        await office.keys.check(text)
    office.keys.collection = real
    await office.keys.check(text)
    await office.keys.write_uses()
    assert (await office.keys.list())[0].uses == 2


async def test_what_ended_long_ago_can_be_forgotten(office: Office) -> None:
    good, _ = await office.keys.create("good")
    short, _ = await office.keys.create("short", valid_for=timedelta(minutes=1))
    revoked, _ = await office.keys.create("revoked")
    await office.keys.revoke(revoked.id)
    office.clock.advance(3600)
    assert await office.keys.purge(ended_for=timedelta(hours=2)) == 0
    assert await office.keys.purge(ended_for=timedelta(minutes=30)) == 2
    assert [key.id for key in await office.keys.list()] == [good.id]
    assert short.id != good.id


@pytest.mark.parametrize("name", ["", " x", "x" * 65, "a\nb"], ids=["empty", "space", "long", "lines"])
async def test_a_name_that_is_none(office: Office, name: str) -> None:
    with pytest.raises(UsageError, match="no name"):
        await office.keys.create(name)


@pytest.mark.parametrize(
    ("topic", "meant"), [("comands", "; did you mean commands?"), ("No Topic", "."), ("game.scores", "games.scores?")]
)
async def test_a_topic_that_does_not_exist(office: Office, topic: str, meant: str) -> None:
    """Nothing is made, and all that there is to choose from is said, the operator's own too."""
    with pytest.raises(UsageError) as refused:
        await office.keys.create("x", topics=["commands", topic])
    assert f"there is no topic {topic!r}" in str(refused.value)
    assert str(refused.value).endswith(meant)
    assert {"commands,", "services,", "games.scores,"} <= set(refused.value.hint.replace(";", ",").split())
    assert await office.keys.list() == []


async def test_a_key_for_nothing_is_refused(office: Office) -> None:
    with pytest.raises(UsageError, match="without topics"):
        await office.keys.create("x", topics=[])


async def test_topics_that_exist(office: Office) -> None:
    """The log is asked for the operator's own only."""
    await office.keys.create("x", topics=["commands", "*"])
    assert office.log.asked == 0
    key, _ = await office.keys.create("y", topics=["services", "games.scores"])
    assert key.may_read("games.scores")


async def test_the_service_writes_uses_at_its_end(documents: Any) -> None:
    office = Office(documents)
    async with (
        tasks_for("keys") as (tasks, _),
        api_keys(
            database=documents, log=office.log, bus=office.bus, auditor=office.auditor, clock=office.clock, tasks=tasks
        ) as keys,
    ):
        _, text = await keys.create("x")
        await keys.check(text)
    assert (await office.keys.list())[0].uses == 1

"""API keys in MongoDB: shown once, stored as a hash, revoked at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from pymongo.errors import ServerSelectionTimeoutError

from botctl.auth.api_keys import MongoKeys, api_keys
from botctl.auth.key_documents import COLLECTION
from botctl.auth.key_format import mint
from botctl.auth.signing import Signer
from botctl.core.contracts.api_keys import KeyRefused, Rotation
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.event_log import Position
from botctl.core.contracts.events import Event, KeyCreated, KeyRevoked, KeyRotated
from botctl.core.errors import ConfigError, IntegrityError, Unreachable, UsageError
from tests.support.clock import ManualClock
from tests.support.realtime import RecordingAuditor
from tests.support.stores import tasks_for

SIGNER = Signer(b"a secret of 32 characters or more")


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
        self.keys = MongoKeys(database[COLLECTION], self.log, self.bus, self.auditor, self.clock, SIGNER)

    @property
    def actions(self) -> list[str]:
        return [entry.action for entry in self.auditor.entries]


@pytest.fixture
def rig(documents: Any) -> Any:
    rig = KeyRig(documents)
    with rig.bus.listen(rig.events.append, Event):
        yield rig


async def test_key_is_accepted_by_its_text(rig: KeyRig) -> None:
    key, text = await rig.keys.create("dashboard", permissions=["events:commands"])
    found = await rig.keys.check(text)
    assert (found.id, found.name, found.permissions) == (key.id, "dashboard", ("events:commands",))


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
        await rig.keys.create("x", permissions=["events:commands", f"events:{topic}"])
    assert f"there is no topic {topic!r}" in str(refused.value)
    assert str(refused.value).endswith(meant)
    assert {"commands,", "services,", "games.scores,"} <= set(refused.value.hint.replace(";", ",").split())
    assert await rig.keys.list() == []


async def test_key_without_permissions_is_refused(rig: KeyRig) -> None:
    with pytest.raises(UsageError, match="without permissions"):
        await rig.keys.create("x", permissions=[])


async def test_known_topics_are_accepted(rig: KeyRig) -> None:
    """The event log is read only for the operator's own topics."""
    await rig.keys.create("x", permissions=["events:commands", "events:*", "jobs:*", "*"])
    assert rig.log.asked == 0
    key, _ = await rig.keys.create("y", permissions=["events:services", "events:games.scores"])
    assert key.permissions == ("events:services", "events:games.scores")


async def test_unknown_permission_is_refused(rig: KeyRig) -> None:
    with pytest.raises(UsageError, match="there is no permission 'jobs:walk'; did you mean jobs:"):
        await rig.keys.create("x", permissions=["jobs:walk"])
    assert await rig.keys.list() == []


async def test_rotation_leaves_the_old_key_for_the_overlap(rig: KeyRig) -> None:
    old, old_text = await rig.keys.create(
        "one", permissions=["jobs:run"], guild="900000000000000001", expires_in=timedelta(days=30)
    )
    await rig.keys.check(old_text, address="10.0.0.1")
    await rig.keys.check(old_text, address="10.0.0.2")
    await rig.keys.write_uses()
    rig.clock.advance(3600)
    rotation = await rig.keys.rotate(old.id, overlap=timedelta(hours=24))
    new = await rig.keys.check(rotation.text)
    assert (new.name, new.permissions, new.guild, new.replaces) == ("one", ("jobs:run",), "900000000000000001", old.id)
    assert new.expires_at == rig.clock.now() + timedelta(days=30)
    assert rotation.old.used_from == ("10.0.0.2", "10.0.0.1")
    assert rotation.old.replaced_by == new.id
    rig.clock.advance(24 * 3600 - 1)
    await rig.keys.check(old_text)
    rig.clock.advance(1)
    with pytest.raises(KeyRefused, match=f"it has expired, and replaced by {new.id}"):
        await rig.keys.check(old_text)
    assert rig.actions[-2:] == ["key.create", "key.rotate"]
    assert isinstance(rig.events[-1], KeyRotated)


async def test_rotation_without_overlap_revokes_at_once(rig: KeyRig) -> None:
    old, old_text = await rig.keys.create("one")
    rotation = await rig.keys.rotate(old.id, overlap=timedelta(0))
    with pytest.raises(KeyRefused, match="it was revoked, and replaced"):
        await rig.keys.check(old_text)
    await rig.keys.check(rotation.text)
    with pytest.raises(UsageError, match="cannot be rotated: it was revoked"):
        await rig.keys.rotate(old.id, overlap=timedelta(0))
    with pytest.raises(UsageError, match="no key 'missing'"):
        await rig.keys.rotate("missing", overlap=timedelta(0))


async def test_key_is_rotated_once(rig: KeyRig) -> None:
    old, _ = await rig.keys.create("one")
    first = await rig.keys.rotate(old.id, overlap=timedelta(hours=1))
    with pytest.raises(UsageError, match=f"was rotated already; {first.new.id} replaces it"):
        await rig.keys.rotate(old.id, overlap=timedelta(hours=1))
    again = await rig.keys.rotate(first.new.id, overlap=timedelta(hours=1))
    assert again.new.expires_at is None  # as the first one, not as its overlap


async def test_two_rotations_at_once_leave_one_successor(rig: KeyRig) -> None:
    old, _ = await rig.keys.create("one")
    results = await asyncio.gather(
        *(rig.keys.rotate(old.id, overlap=timedelta(hours=1)) for _ in range(4)), return_exceptions=True
    )
    (won,) = [result for result in results if isinstance(result, Rotation)]
    valid = [key.id for key in await rig.keys.list() if key.invalid_reason(rig.clock.now()) is None]
    assert sorted(valid) == sorted([old.id, won.new.id])


async def test_unsigned_key_is_deleted_by_revoke(rig: KeyRig) -> None:
    key, _ = await rig.keys.create("one")
    await rig.database[COLLECTION].update_one({"_id": key.id}, {"$unset": {"mac": ""}})
    with pytest.raises(IntegrityError, match=r"not signed by this bot.*is deleted now"):
        await rig.keys.revoke(key.id)
    assert await rig.keys.list() == []
    assert rig.actions == ["key.create", "key.delete"]


async def test_key_of_a_place_that_is_no_guild_is_refused(rig: KeyRig) -> None:
    with pytest.raises(UsageError, match="'here' is not a guild"):
        await rig.keys.create("one", guild="here")


async def test_uses_of_several_processes_add_up(rig: KeyRig) -> None:
    _, text = await rig.keys.create("one")
    other = MongoKeys(rig.keys.collection, rig.log, rig.bus, rig.auditor, rig.clock, SIGNER)
    await rig.keys.check(text, address="10.0.0.1")
    rig.clock.advance(5)
    await other.check(text, address="10.0.0.2")
    await other.write_uses()
    await rig.keys.write_uses()  # an older use, written later
    (found,) = await rig.keys.list()
    assert (found.uses, found.used_at, set(found.used_from)) == (2, rig.clock.now(), {"10.0.0.1", "10.0.0.2"})


async def test_overlap_does_not_prolong_a_key(rig: KeyRig) -> None:
    old, _ = await rig.keys.create("one", expires_in=timedelta(hours=1))
    rotation = await rig.keys.rotate(old.id, overlap=timedelta(hours=24))
    assert rotation.old.expires_at == old.expires_at


@pytest.mark.parametrize(
    "change",
    [
        {"permissions": ["*"]},
        {"guild": "900000000000000001"},
        {"expires_ms": None},
        {"revoked_ms": None},
        {"digest": b"x" * 32},
        {"mac": "0" * 64},
        {"mac": b"x"},
        {"extra": 1},
    ],
    ids=str,
)
async def test_changed_document_opens_nothing(rig: KeyRig, change: dict[str, Any]) -> None:
    key, text = await rig.keys.create("one", permissions=["events:commands"], expires_in=timedelta(hours=1))
    other, _ = await rig.keys.create("other")
    if "revoked_ms" in change:
        await rig.keys.revoke(key.id)
    await rig.database[COLLECTION].update_one({"_id": key.id}, {"$set": change})
    with pytest.raises(KeyRefused, match=r"no such key|signed by this bot|signature is wrong"):
        await rig.keys.check(text)
    assert await rig.keys.active([key.id]) == {}
    assert [found.id for found in await rig.keys.list()] == [other.id]
    assert list(rig.keys.malformed.faults) == [key.id]


async def test_document_of_another_key_is_not_valid_under_a_new_id(rig: KeyRig) -> None:
    await rig.keys.create("one", permissions=["*"])
    (document,) = await rig.database[COLLECTION].find({}).to_list()
    minted = mint()
    await rig.database[COLLECTION].insert_one({**document, "_id": minted.id, "digest": minted.digest})
    with pytest.raises(KeyRefused, match="signature is wrong"):
        await rig.keys.check(minted.text)


async def test_uses_do_not_break_the_signature(rig: KeyRig) -> None:
    key, text = await rig.keys.create("one")
    for number in range(7):
        await rig.keys.check(text, address=f"10.0.0.{number}")
        await rig.keys.write_uses()
    (found,) = await rig.keys.list()
    assert (found.id, found.uses, len(found.used_from)) == (key.id, 7, 5)


async def test_key_of_another_secret_opens_nothing(rig: KeyRig) -> None:
    _, text = await rig.keys.create("one")
    rig.keys.signer = Signer(b"another secret of 32 characters or so")
    with pytest.raises(KeyRefused, match=r"another auth\.secret"):
        await rig.keys.check(text)
    rig.keys.signer = Signer(None)
    with pytest.raises(KeyRefused, match=r"auth\.secret is not set"):
        await rig.keys.check(text)
    with pytest.raises(ConfigError, match=r"auth\.secret is not set"):
        await rig.keys.create("two")


async def test_service_writes_uses_at_stop(documents: Any) -> None:
    rig = KeyRig(documents)
    async with (
        tasks_for("keys") as (tasks, _),
        api_keys(
            database=documents,
            log=rig.log,
            bus=rig.bus,
            auditor=rig.auditor,
            clock=rig.clock,
            signer=SIGNER,
            tasks=tasks,
        ) as keys,
    ):
        _, text = await keys.create("x")
        await keys.check(text)
    assert (await rig.keys.list())[0].uses == 1

"""Grants of roles in MongoDB: signed, once per place, taken back at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from pymongo.errors import ServerSelectionTimeoutError

from botctl.auth.access_control import CurrentAccess, access_control
from botctl.auth.grants import COLLECTION, MongoGrants
from botctl.auth.settings_grants import settings_grants
from botctl.auth.signing import Signer
from botctl.core.config.settings import RoleSettings, Settings
from botctl.core.contracts.access import Holder, HolderType, Requester
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.event_log import Position
from botctl.core.contracts.events import Event, RoleGranted, RoleRevoked
from botctl.core.contracts.permissions import BUILT_IN_ROLES
from botctl.core.errors import ConfigError, Unreachable, UsageError
from tests.support.clock import ManualClock
from tests.support.realtime import RecordingAuditor
from tests.support.stores import tasks_for
from tests.support.waiting import until

ANN, GUILD = "900000000000000101", "900000000000000001"
USER = Holder(HolderType.USER, ANN)
ROLES = {"admin": RoleSettings(users=("900000000000000102",)), "helper": RoleSettings(permissions=("jobs:run",))}


class GrantRig:
    """Grants, and the events and audit entries that they cause."""

    def __init__(self, database: Any) -> None:
        self.collection = database[COLLECTION]
        self.bus, self.auditor, self.clock = Bus(), RecordingAuditor(), ManualClock()
        self.events: list[Event] = []
        signer = Signer(b"a secret of 32 characters or more")
        self.grants = MongoGrants(self.collection, ROLES, self.bus, self.auditor, self.clock, signer)
        self.access = CurrentAccess(settings_grants(ROLES), self.clock)

    async def may(self, permission: str, guild: str | None = None, holder: Holder = USER) -> bool:
        await self.access.reload(self.grants)
        return self.access.decide(Requester(holder), permission, guild).allowed


@pytest.fixture
def rig(documents: Any) -> Any:
    rig = GrantRig(documents)
    with rig.bus.listen(rig.events.append, Event):
        yield rig


async def test_granted_role_carries_its_permissions_until_it_is_revoked(rig: GrantRig) -> None:
    assert not await rig.may("jobs:run")
    granted, is_new = await rig.grants.grant("operator", USER, reason="on call")
    assert (granted.permissions, is_new) == (BUILT_IN_ROLES["operator"], True)
    assert await rig.may("jobs:run")
    assert not await rig.may("keys:admin")
    assert await rig.grants.revoke("operator", USER, reason="off call")
    assert not await rig.may("jobs:run")
    assert [type(event) for event in rig.events] == [RoleGranted, RoleRevoked]
    entries = rig.auditor.entries
    assert [(entry.action, entry.reason) for entry in entries] == [
        ("role.grant", "on call"),
        ("role.revoke", "off call"),
    ]
    assert {str(entry.target and entry.target.id) for entry in entries} == {ANN}


async def test_second_grant_replaces_reason_and_end(rig: GrantRig) -> None:
    await rig.grants.grant("viewer", USER, reason="first")
    _, is_new = await rig.grants.grant("viewer", USER, reason="second", expires_in=timedelta(hours=1))
    (found,) = await rig.grants.list()
    assert (is_new, found.reason, found.expires_at) == (False, "second", rig.clock.now() + timedelta(hours=1))
    assert await rig.may("status:read")
    rig.clock.advance(3600)
    assert not await rig.may("status:read")


async def test_grant_of_one_guild_counts_there_only(rig: GrantRig) -> None:
    await rig.grants.grant("operator", USER, guild=GUILD, reason="its admin")
    assert await rig.may("jobs:run", GUILD)
    assert not await rig.may("jobs:run")
    assert not await rig.may("jobs:run", "900000000000000002")
    assert not await rig.grants.revoke("operator", USER, reason="elsewhere")
    assert await rig.may("jobs:run", GUILD)


async def test_role_of_the_settings_carries_what_they_say(rig: GrantRig) -> None:
    key = Holder(HolderType.KEY, "abc")
    await rig.grants.grant("helper", key, reason="its dashboard")
    assert await rig.may("jobs:run", holder=key)
    assert not await rig.may("jobs:write", holder=key)


async def test_grant_of_a_role_that_was_removed_carries_nothing(rig: GrantRig) -> None:
    await rig.grants.grant("helper", USER, reason="x")
    rig.grants.roles = {}
    (found,) = await rig.grants.list()
    assert found.permissions == frozenset()


@pytest.mark.parametrize(
    "change", [{"role": "owner"}, {"holder": "user:900000000000000109"}, {"guild": None}, {"mac": ""}]
)
async def test_changed_grant_counts_for_nothing(rig: GrantRig, change: dict[str, Any]) -> None:
    await rig.grants.grant("viewer", USER, guild=GUILD, reason="x")
    await rig.collection.update_one({}, {"$set": change})
    assert await rig.grants.list() == []
    assert len(rig.grants.malformed.faults) == 1
    assert not await rig.may("status:read", GUILD)


async def test_inserted_grant_counts_for_nothing(rig: GrantRig) -> None:
    await rig.grants.grant("viewer", USER, reason="x")
    (document,) = await rig.collection.find({}).to_list()
    await rig.collection.insert_one({**document, "_id": f"owner|user:{ANN}|", "role": "owner"})
    assert [found.role for found in await rig.grants.list()] == ["viewer"]


@pytest.mark.parametrize(
    ("role", "options", "sentence"),
    [
        ("operater", {}, "no role 'operater'; did you mean operator"),
        ("viewer", {"holder": Holder(HolderType.ROLE, ANN)}, "belongs to a guild"),
        ("viewer", {"guild": "here"}, "'here' is not a guild"),
        ("viewer", {"reason": ""}, "a reason is a text"),
        ("viewer", {"reason": "x" * 201}, "a reason is a text"),
    ],
)
async def test_invalid_grant_is_refused(rig: GrantRig, role: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        await rig.grants.grant(role, **{"holder": USER, "reason": "x"} | options)
    assert await rig.grants.list() == []
    assert rig.events == []


async def test_last_grants_count_while_the_store_is_away(rig: GrantRig) -> None:
    await rig.grants.grant("operator", USER, reason="x")
    assert await rig.may("jobs:run")

    class Away:
        def find(self, *_: Any) -> Any:
            raise ServerSelectionTimeoutError("no server")

    rig.grants.collection = Away()  # type: ignore[assignment]
    with pytest.raises(Unreachable, match="grants cannot be reached"):
        await rig.access.reload(rig.grants)
    assert rig.access.decide(Requester(USER), "jobs:run").allowed


async def test_nothing_is_granted_without_a_secret(rig: GrantRig) -> None:
    rig.grants.signer = Signer(None)
    with pytest.raises(ConfigError, match=r"auth\.secret is not set"):
        await rig.grants.grant("viewer", USER, reason="x")


async def test_changes_are_noticed_at_once_and_without_events_too(
    documents: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig, log = GrantRig(documents), Mock(position=AsyncMock(side_effect=Unreachable("Redis is away")))
    monkeypatch.setattr("botctl.auth.access_control.RELOAD_S", 0.02)
    caplog.set_level("INFO")
    async with tasks_for("access") as (tasks, _):
        options: Any = {"settings": Settings(roles=ROLES), "clock": rig.clock, "grants": rig.grants, "log": log}
        async with access_control(tasks=tasks, **options) as access:
            await rig.grants.grant("operator", USER, reason="x")
            await until(lambda: access.decide(Requester(USER), "jobs:run").allowed, what="the grant")
            assert "not at once: Redis is away" in caplog.text
            log.position = AsyncMock(return_value=Position("e", 0))
            log.read = AsyncMock(side_effect=asyncio.Event().wait)
            await until(lambda: log.read.called, what="the events to be read again")
            await tasks.cancel()

"""Signed-in people on the realtime server: tickets, their rights, and the end of their sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from botctl.core.config.settings import RoleSettings
from botctl.core.contracts.sessions import Session, SessionStore
from botctl.realtime.protocol import CloseReason
from tests.support.people import sign_in, ticket_of
from tests.support.realtime import TOPIC, Client, Rig, open_client, serving
from tests.support.waiting import until

GUILD, ROLE = "900000000000000001", "900000000000000201"
ROLES = {GUILD: frozenset({ROLE})}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botctl.realtime.server.CLOSE_GRACE_S", 0.2)
    monkeypatch.setattr("botctl.realtime.ended_callers.RECHECK_S", 0.05)


@pytest.fixture
async def rig(redis: Redis, tmp_path: Path) -> AsyncIterator[Rig]:
    watchers = RoleSettings(roles=(ROLE,), permissions=("viewer",))
    async with serving(redis, tmp_path, roles={"watchers": watchers}) as running:
        yield running


def store(rig: Rig) -> SessionStore:
    return rig.running.get(SessionStore)


async def enter(rig: Rig, client: Client, session: Session) -> dict[str, object]:
    return await client.request("auth", ticket=await ticket_of(rig, session))


async def test_ticket_opens_one_connection_with_the_rights_of_the_person(rig: Rig) -> None:
    session = await sign_in(rig, role="operator")
    ticket = await store(rig).ticket(session)
    async with open_client(rig.server.url) as client, open_client(rig.server.url) as thief:
        reply = await client.request("auth", ticket=ticket)
        assert reply["session"] == {
            "id": session.id.removeprefix("session:"),
            "user": session.id,
            "name": "link of root",
        }
        assert (await client.request("watch", states=["jobs"]))["type"] == "watch"
        assert (await client.request("watch", states=["keys"]))["code"] == "forbidden"
        assert (await thief.request("auth", ticket=ticket))["code"] == "bad ticket"
        assert await thief.wait_closed() == CloseReason.BAD_KEY


async def test_state_sessions_follows_who_is_signed_in_and_tells_no_secret(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botctl.realtime.states.EVERY_S", 0.02)
    admin, viewer = await sign_in(rig, role="admin"), await sign_in(rig, role="viewer")
    async with open_client(rig.server.url) as client, open_client(rig.server.url) as other:
        await enter(rig, client, admin)
        await enter(rig, other, viewer)
        assert (await other.request("watch", states=["sessions"]))["code"] == "forbidden"
        shown = (await client.request("watch", states=["sessions"]))["states"]["sessions"]
        assert shown.keys() == {admin.id, viewer.id}
        assert (shown[viewer.id]["source"], shown[viewer.id]["role"]) == ("link", "viewer")
        assert shown[viewer.id].keys() == viewer.as_json().keys()
        assert not {"csrf", "rights", "member_roles"} & shown[viewer.id].keys()
        ann = await sign_in(rig, ROLES)
        await store(rig).revoke(viewer.id)

        def changes() -> dict[str, object]:
            return {change["key"]: change["value"] for change in client.of_type("change")}

        await until(lambda: changes().keys() >= {ann.id, viewer.id}, what="the changes")
        assert changes()[viewer.id] is None
        assert changes()[ann.id] == ann.as_json()


async def test_person_gets_the_events_of_the_guild_of_their_role(rig: Rig) -> None:
    session = await sign_in(rig, ROLES)
    async with open_client(rig.server.url) as client:
        await enter(rig, client, session)
        assert (await client.request("watch", states=["services"]))["code"] == "forbidden"
        assert (await client.request("subscribe", topics=[TOPIC]))["type"] == "subscribe"
        for guild in (GUILD, None, "900000000000000002", GUILD):
            rig.publish(guild=guild)
        await client.wait_for_events(2)
        assert client.numbers == [1, 4]


@pytest.mark.parametrize("event_arrives", [True, False], ids=["by the event", "by looking again"])
@pytest.mark.parametrize("change", ["ended", "lost role"])
async def test_end_or_change_of_a_session_closes_its_sockets(
    rig: Rig, change: str, event_arrives: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the two ways alone is enough: the other one is switched off."""
    session, other = await sign_in(rig, ROLES), await sign_in(rig, role="viewer")
    async with open_client(rig.server.url) as client, open_client(rig.server.url) as bystander:
        await enter(rig, client, session)
        await enter(rig, bystander, other)
        other_way = "_compare" if event_arrives else "_handle"
        monkeypatch.setattr(f"botctl.realtime.ended_callers.{other_way}", lambda *_: None)
        if change == "ended":
            await store(rig).revoke(session.id, reason="test")
            assert await client.wait_closed() == CloseReason.KEY_ENDED
        else:
            await store(rig).update(session.id, {GUILD: frozenset()}, rig.clock.now())
            assert await client.wait_closed() == CloseReason.ACCESS_CHANGED
        assert (await bystander.request("ping"))["type"] == "pong"


async def test_session_that_changes_while_its_ticket_is_checked_is_not_admitted(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the check has read is old by then; the next ticket finds the session as it is."""
    session, sessions = await sign_in(rig, ROLES), store(rig)
    redeem = sessions.redeem

    async def slow_redeem(ticket: str) -> Session | None:
        found = await redeem(ticket)
        before = rig.server.hub.counts.events
        await sessions.update(session.id, {GUILD: frozenset()}, rig.clock.now())
        await until(lambda: session.id in rig.server.connections._changed, what=f"the event (after {before})")
        return found

    async with open_client(rig.server.url) as client, open_client(rig.server.url) as again:
        with monkeypatch.context() as slow:
            slow.setattr(sessions, "redeem", slow_redeem)
            assert (await enter(rig, client, session))["code"] == "access changed"
            assert await client.wait_closed() == CloseReason.ACCESS_CHANGED
        assert (await enter(rig, again, session))["type"] == "auth"
        assert (await again.request("subscribe", topics=[TOPIC]))["code"] == "forbidden"

"""The fingerprint of rights, and when Discord is asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from botctl.auth.access_control import CurrentAccess
from botctl.core.contracts.access import AccessRules, Holder, HolderType, RoleGrant
from botctl.core.contracts.callers import rights_of
from botctl.core.contracts.event_log import START, Entry, EventPage, Position, encode
from botctl.core.contracts.events import MemberRolesChanged
from botctl.core.contracts.sessions import Found, Session, SessionSource
from botctl.core.errors import Unreachable
from botctl.web.visitors import RETRY_S, Visitors
from tests.support.clock import ManualClock
from tests.support.waiting import until

ANN, GUILD, ROLE = "900000000000000101", "900000000000000001", "900000000000000201"
USER = Holder(HolderType.USER, ANN)
OPERATOR = RoleGrant("operator", USER, frozenset({"jobs:run"}))
BY_ROLE = RoleGrant("viewer", Holder(HolderType.ROLE, ROLE), frozenset({"status:read"}), GUILD)


def session(clock: ManualClock, **fields: Any) -> Session:
    now = clock.now()
    values: dict[str, Any] = {"id": "session:1", "source": SessionSource.DISCORD, "user": ANN, "checked_at": now}
    values |= {"created_at": now, "seen_at": now, "expires_at": now + timedelta(days=7)}
    return Session(**values | fields)


class FakeSessions:
    """One session with its text."""

    def __init__(self, kept: Session) -> None:
        self.kept: Session | None = kept
        self.text = "first"
        self.renewals = 0

    async def find(self, text: str) -> Found | None:
        return None if self.kept is None else Found(self.kept, replaced=text != self.text)

    async def renew(self, text: str, new: Session) -> str | None:
        if self.kept is None or new.version != self.kept.version:
            return None
        self.renewals += 1
        self.kept, self.text = replace(new, version=new.version + 1), f"text {self.renewals}"
        return self.text

    async def update(self, session_id: str, roles: Mapping[str, frozenset[str]], checked_at: Any) -> Session | None:
        if self.kept is not None:
            version = self.kept.version + 1
            self.kept = replace(self.kept, member_roles=roles, checked_at=checked_at, version=version)
        return self.kept

    async def list(self, user: str) -> list[Session]:
        return [self.kept] if self.kept is not None and self.kept.user == user else []


class FakeLog:
    """The event log: the roles of Ann change once. ``reads``: how often it was read."""

    def __init__(self) -> None:
        self.reads = 0

    async def position(self, _: str) -> Position:
        return START

    async def read(self, *_: Any, **__: Any) -> EventPage:
        self.reads += 1
        if self.reads > 1:
            await asyncio.Event().wait()
        event = {"type": MemberRolesChanged.type, "data": {"guild": GUILD, "user": ANN}}
        return EventPage((Entry(1, encode(event)),), "epoch", 1, 1, Position("epoch", 1))


class FakeReader:
    """Discord's answer, as it is when it is asked; counts the questions. ``may_answer``: cleared, it comes later."""

    def __init__(self) -> None:
        self.roles: dict[str, frozenset[str]] | Exception = {GUILD: frozenset({ROLE})}
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def known_guilds(self, _: str) -> frozenset[str]:
        return frozenset({GUILD})

    async def read(self, _: str) -> Mapping[str, frozenset[str]]:
        self.asked += 1
        roles = self.roles
        await asyncio.sleep(0)
        await self.may_answer.wait()
        if isinstance(roles, Exception):
            raise roles
        return roles


class VisitRig:
    def __init__(self, *grants: RoleGrant, **fields: Any) -> None:
        self.clock = ManualClock()
        self.access = CurrentAccess((), self.clock)
        self.access.rules = AccessRules(grants)
        kept = session(self.clock, **({"member_roles": {GUILD: frozenset({ROLE})}} | fields))
        self.sessions = FakeSessions(replace(kept, rights=rights_of(self.access.rules, kept, self.clock.now())))
        self.reader = FakeReader()
        sessions, reader = self.sessions, self.reader
        recheck = timedelta(seconds=300)
        self.visitors = Visitors(sessions, self.access, reader, self.clock, recheck)  # type: ignore[arg-type]


def test_fingerprint_follows_every_right_and_nothing_else() -> None:
    clock = ManualClock()
    mine = session(clock, member_roles={GUILD: frozenset({ROLE})})
    other = replace(OPERATOR, holder=Holder(HolderType.USER, "900000000000000102"))
    variants = [(), (OPERATOR,), (BY_ROLE,), (OPERATOR, BY_ROLE), (replace(OPERATOR, guild=GUILD),)]
    found = [rights_of(AccessRules(grants), mine, clock.now()) for grants in variants]
    assert len(set(found)) == len(variants)
    assert rights_of(AccessRules((other,)), mine, clock.now()) == found[0]
    assert rights_of(AccessRules((BY_ROLE,)), replace(mine, member_roles={}), clock.now()) == found[0]
    ends = replace(OPERATOR, expires_at=clock.now() + timedelta(seconds=5))
    assert rights_of(AccessRules((ends,)), mine, clock.now()) == found[1]
    clock.advance(5)
    assert rights_of(AccessRules((ends,)), mine, clock.now()) == found[0]


async def test_text_stays_while_the_rights_do() -> None:
    rig = VisitRig(OPERATOR)
    visit = await rig.visitors.visit("first")
    assert visit is not None
    assert visit.new_text is None
    assert rig.sessions.renewals == 0


@pytest.mark.parametrize("grants", [(), (OPERATOR, BY_ROLE)], ids=["fewer", "more"])
async def test_changed_rights_renew_the_text_once(grants: tuple[RoleGrant, ...]) -> None:
    rig = VisitRig(OPERATOR)
    rig.access.rules = AccessRules(grants)
    visit = await rig.visitors.visit("first")
    assert visit is not None
    assert visit.new_text == "text 1"
    for text in ("first", "text 1"):
        again = await rig.visitors.visit(text)
        assert again is not None
        assert again.new_text is None
    assert rig.sessions.renewals == 1


async def test_old_roles_are_read_again_once_for_all_who_wait() -> None:
    rig = VisitRig(BY_ROLE)
    rig.reader.roles = {GUILD: frozenset()}
    await rig.visitors.visit("first")
    assert rig.reader.asked == 0
    rig.clock.advance(300)
    visits = await asyncio.gather(*(rig.visitors.visit("first") for _ in range(5)))
    assert rig.reader.asked == 1
    assert all(visit is not None and visit.session.member_roles == {GUILD: frozenset()} for visit in visits)


async def test_change_is_read_although_an_older_reading_is_under_way() -> None:
    rig, log = VisitRig(BY_ROLE), FakeLog()
    given: Any = log
    rig.clock.advance(300)
    rig.reader.may_answer.clear()
    visit = asyncio.create_task(rig.visitors.visit("first"))
    await until(lambda: rig.reader.asked == 1, what="the older reading")
    rig.reader.roles = {GUILD: frozenset()}
    follower = asyncio.create_task(rig.visitors.follow_members(given))
    try:
        await until(lambda: log.reads == 1, what="the change")
        rig.reader.may_answer.set()
        await until(lambda: log.reads == 2, what="the reading after the change")
        assert rig.reader.asked == 2
        assert rig.sessions.kept is not None
        assert rig.sessions.kept.member_roles == {GUILD: frozenset()}
        await visit
    finally:
        follower.cancel()
        visit.cancel()


async def test_guild_that_was_not_read_yet_is_read_at_once() -> None:
    rig = VisitRig(BY_ROLE, member_roles={})
    visit = await rig.visitors.visit("first")
    assert visit is not None
    assert visit.session.member_roles == {GUILD: {ROLE}}


async def test_while_discord_is_down_the_last_roles_count_and_it_is_asked_seldom() -> None:
    rig = VisitRig(BY_ROLE)
    checked_at = rig.clock.now()
    rig.reader.roles = Unreachable("Discord cannot be reached.")
    rig.clock.advance(300)
    for _ in range(3):
        visit = await rig.visitors.visit("first")
        assert visit is not None
        assert (visit.session.member_roles, visit.session.checked_at) == ({GUILD: {ROLE}}, checked_at)
    assert rig.reader.asked == 1
    rig.clock.advance(RETRY_S)
    await rig.visitors.visit("first")
    assert rig.reader.asked == 2


async def test_session_of_a_link_asks_discord_nothing() -> None:
    rig = VisitRig(source=SessionSource.LINK, user="", role="viewer", checked_at=None, member_roles={})
    rig.clock.advance(10_000)
    assert await rig.visitors.visit("first")
    assert rig.reader.asked == 0


async def test_session_that_has_ended_is_no_visit() -> None:
    rig = VisitRig(OPERATOR)
    rig.sessions.kept = None
    assert await rig.visitors.visit("first") is None

"""Sessions in Redis: found by their text only, renewed, ended at once, and bounded."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisDown

from botctl.auth import sessions as module
from botctl.auth.one_time import RedisOneTimeTokens, token_digest
from botctl.auth.session_documents import HEAD_LENGTH
from botctl.auth.sessions import RedisSessions
from botctl.auth.signing import Signer
from botctl.core.contracts.access import AccessRules, held_permissions
from botctl.core.contracts.audit_entry import Principal
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.events import Event, SessionChanged, SessionEnded
from botctl.core.contracts.permissions import BUILT_IN_ROLES
from botctl.core.contracts.sessions import Session, SessionSource, new_session_id
from botctl.core.errors import ConfigError, Unreachable, UsageError
from tests.support.clock import ManualClock
from tests.support.realtime import RecordingAuditor

ANN, BOB, GUILD, ROLE = (f"90000000000000{tail}" for tail in ("0101", "0102", "0001", "0201"))
SIGNER = Signer(b"a secret of 32 characters or more", "bot")
ACTOR = Principal("user", BOB, "bob")


class SessionRig:
    """The sessions of one process, and what they tell."""

    def __init__(self, redis: Redis, clock: ManualClock | None = None, signer: Signer = SIGNER) -> None:
        self.redis, self.clock = redis, clock or ManualClock()
        self.bus, self.auditor, self.events = Bus(), RecordingAuditor(), list[Event]()
        self.tokens = RedisOneTimeTokens(redis, "bot", signer)
        idle = timedelta(hours=24)
        self.sessions = RedisSessions(redis, "bot", idle, self.tokens, self.bus, self.auditor, self.clock, signer)

    def session(self, user: str = ANN, **fields: Any) -> Session:
        now = self.clock.now()
        values: dict[str, Any] = {
            "id": new_session_id(),
            "source": SessionSource.DISCORD,
            "created_at": now,
            "seen_at": now,
            "expires_at": now + timedelta(days=7),
            "user": user,
            "name": "Ann",
            "checked_at": now,
            "member_roles": {GUILD: frozenset({ROLE})},
            "csrf": "c" * 43,
            "address": "127.0.0.1",
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64) é",
        }
        return Session(**values | fields)


@pytest.fixture
def rig(redis: Redis) -> Any:
    rig = SessionRig(redis)
    with rig.bus.listen(rig.events.append, Event):
        yield rig


async def test_session_is_found_by_its_text_and_nothing_else(rig: SessionRig) -> None:
    session = rig.session()
    text = await rig.sessions.create(session)
    found = await rig.sessions.find(text)
    assert found is not None
    assert (found.session, found.replaced) == (session, False)
    for wrong in ("", text[:-1], text + "A", "A" * 43, session.id, token_digest(text), "é" * 43):
        assert await rig.sessions.find(wrong) is None


async def test_redis_has_no_text_of_a_session(rig: SessionRig) -> None:
    text = await rig.sessions.create(rig.session())
    ticket = await rig.sessions.ticket(rig.session())
    link = await rig.sessions.create_link("viewer", timedelta(minutes=1))
    assert {len(text), len(ticket), len(link)} == {43}  # 256 bits
    stored = [str(await rig.redis.dump(key)) + str(key) for key in await rig.redis.keys("*")]
    assert len(stored) == 6
    assert not [value for value in stored for secret in (text, ticket, link) if secret in value]


async def test_finding_is_one_round_trip(rig: SessionRig) -> None:
    text = await rig.sessions.create(rig.session())
    assert await rig.sessions.find(text)  # connects
    before = (await rig.redis.info("stats"))["total_commands_processed"]
    for _ in range(10):
        assert await rig.sessions.find(text)
    assert (await rig.redis.info("stats"))["total_commands_processed"] - before == 11, "with that of info itself"


async def test_session_ends_when_it_is_idle_and_at_its_end(rig: SessionRig) -> None:
    text = await rig.sessions.create(rig.session())
    key = f"botctl:{{bot}}:session:{token_digest(text)}"
    assert 86_390_000 < await rig.redis.pttl(key) <= 86_400_000
    rig.clock.advance(6.5 * 86_400)
    found = await rig.sessions.find(text)  # Redis's own clock has not moved
    assert found is not None
    assert 43_190_000 < await rig.redis.pttl(key) <= 43_200_000, "no longer than to the absolute end"
    rig.clock.advance(0.6 * 86_400)
    assert await rig.sessions.find(text) is None
    assert await rig.sessions.list() == []


async def test_use_is_written_once_a_minute(rig: SessionRig) -> None:
    session = rig.session()
    text = await rig.sessions.create(session)
    for seconds, written in ((30, 0), (40, 70), (50, 70)):
        rig.clock.advance(seconds)
        await rig.sessions.find(text)
        (now,) = await rig.sessions.list()
        assert now.seen_at == session.seen_at + timedelta(seconds=written)


async def test_renewed_session_has_a_new_text_and_the_old_one_ends_soon(rig: SessionRig) -> None:
    session = rig.session()
    old = await rig.sessions.create(session)
    new = await rig.sessions.renew(old, replace(session, rights="other"))
    assert new is not None
    assert new != old
    assert [type(event) for event in rig.events] == [SessionChanged]
    by_new, by_old = await rig.sessions.find(new), await rig.sessions.find(old)
    assert by_new is not None
    assert by_old is not None
    assert (by_new.session.rights, by_new.replaced, by_old.replaced) == ("other", False, True)
    assert 0 < await rig.redis.pttl(f"botctl:{{bot}}:session:{token_digest(old)}") <= 10_000
    assert await rig.sessions.renew(old, by_old.session) is None, "an old text cannot be renewed"
    await rig.sessions.revoke(session.id, actor=ACTOR)
    assert await rig.sessions.find(new) is None
    assert await rig.sessions.find(old) is None


async def test_of_two_renewals_at_once_one_wins(rig: SessionRig) -> None:
    session = rig.session()
    text = await rig.sessions.create(session)
    texts = await asyncio.gather(*(rig.sessions.renew(text, replace(session, rights=r)) for r in "ab"))
    assert [new is None for new in texts].count(True) == 1
    assert len(await rig.sessions.list()) == 1


async def test_new_member_roles_are_not_overwritten_by_an_older_copy(rig: SessionRig) -> None:
    """Another request has read the session before the role was lost."""
    session = rig.session()
    text = await rig.sessions.create(session)
    updated = await rig.sessions.update(session.id, {GUILD: frozenset()}, rig.clock.now())
    assert updated is not None
    assert await rig.sessions.renew(text, replace(session, rights="x")) is None
    found = await rig.sessions.find(text)
    assert found is not None
    assert found.session == updated
    assert found.session.member_roles == {GUILD: frozenset()}
    assert await rig.sessions.renew(text, replace(found.session, rights="x"))


async def test_update_tells_others_only_of_other_roles(rig: SessionRig) -> None:
    session = rig.session()
    await rig.sessions.create(session)
    await rig.sessions.update(session.id, session.member_roles, rig.clock.now())
    assert rig.events == []
    await rig.sessions.update(session.id, {}, rig.clock.now())
    assert rig.events == [SessionChanged(session=session.id, user=ANN)]
    assert await rig.sessions.update("session:none", {}, rig.clock.now()) is None


async def test_revoked_session_is_gone_at_once_for_every_process(rig: SessionRig) -> None:
    session, other = rig.session(), SessionRig(rig.redis, rig.clock)
    text = await rig.sessions.create(session)
    assert await other.sessions.find(text)
    assert await rig.sessions.revoke(session.id, actor=ACTOR, reason="stolen") == session
    assert await other.sessions.find(text) is None
    assert await rig.sessions.revoke(session.id, actor=ACTOR) is None
    assert rig.events == [SessionEnded(session=session.id, user=ANN, actor="bob", reason="stolen")]
    (entry,) = rig.auditor.entries
    assert (entry.action, entry.actor, entry.reason) == ("session.end", ACTOR, "stolen")
    assert entry.target is not None
    assert entry.target.id == session.id


async def test_all_sessions_of_a_person_end_together(rig: SessionRig) -> None:
    for user in (ANN, ANN, BOB):
        await rig.sessions.create(rig.session(user))
    assert len(await rig.sessions.list(ANN)) == 2
    assert await rig.sessions.revoke_all(ANN, actor=ACTOR) == 2
    assert [session.user for session in await rig.sessions.list()] == [BOB]
    assert await rig.sessions.revoke_all(None, actor=ACTOR) == 1
    assert await rig.redis.keys("botctl:{bot}:session:*") == []


async def test_end_of_all_sessions_ends_links_that_were_not_opened(rig: SessionRig) -> None:
    link = await rig.sessions.create_link("owner", timedelta(minutes=10))
    await rig.sessions.create(rig.session())
    ticket = await rig.tokens.put("ticket", {}, 60)
    assert await rig.sessions.revoke_all(ANN) == 1
    assert await rig.sessions.find_link(link) is not None
    assert await rig.sessions.revoke_all(None) == 0
    assert await rig.sessions.find_link(link) is None
    assert await rig.tokens.peek("ticket", ticket) == {}


async def test_a_person_has_a_bounded_number_of_sessions(rig: SessionRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PER_PERSON", 3)
    made = []
    for _ in range(5):
        rig.clock.advance(1)
        made.append(rig.session())
        await rig.sessions.create(made[-1])
    assert [session.id for session in await rig.sessions.list()] == [session.id for session in made[:1:-1]]


async def test_lists_forget_sessions_that_redis_has_expired(rig: SessionRig) -> None:
    text = await rig.sessions.create(rig.session())
    await rig.redis.delete(f"botctl:{{bot}}:session:{token_digest(text)}")
    assert await rig.sessions.list(ANN) == []
    assert await rig.redis.keys("*") == []


async def test_ids_of_ended_sessions_are_forgotten_without_a_list(rig: SessionRig) -> None:
    await rig.sessions.create(rig.session(BOB))
    rig.clock.advance(8 * 86_400)
    await rig.sessions.create(rig.session())
    assert await rig.redis.hlen("botctl:{bot}:sessions") == 1
    assert await rig.redis.zcard("botctl:{bot}:sessions:ends") == 1


async def test_who_can_write_to_redis_opens_no_session(rig: SessionRig) -> None:
    """Neither with a changed document, nor with that of another session, nor with one of another bot."""
    stolen, own = await rig.sessions.create(rig.session()), await rig.sessions.create(rig.session(BOB))
    prefix = "botctl:{bot}:session:"
    value = await rig.redis.get(prefix + token_digest(stolen))
    document = json.loads(value[HEAD_LENGTH:])
    changed = value[:HEAD_LENGTH] + json.dumps(document | {"user": BOB}).encode()
    foreign = SessionRig(rig.redis, rig.clock, Signer(b"another secret of 32 characters..", "bot"))
    theirs = await foreign.sessions.create(foreign.session())
    for forged in (value, changed, b"", b"nonsense", value[:HEAD_LENGTH] + b"[]", value[:HEAD_LENGTH] + b"{"):
        await rig.redis.set(prefix + token_digest(own), forged)
        assert await rig.sessions.find(own) is None, forged
    assert await rig.sessions.find(theirs) is None
    assert {session.user for session in await rig.sessions.list()} == {ANN}


async def test_without_a_secret_no_one_can_sign_in(redis: Redis) -> None:
    rig = SessionRig(redis, signer=Signer(None))
    with pytest.raises(ConfigError, match=r"auth\.secret is not set"):
        await rig.sessions.create(rig.session())


async def test_ticket_opens_the_session_once(rig: SessionRig) -> None:
    session = rig.session()
    text = await rig.sessions.create(session)
    ticket = await rig.sessions.ticket(session)
    await rig.sessions.renew(text, session)
    redeemed = await rig.sessions.redeem(ticket)
    assert redeemed is not None
    assert redeemed.id == session.id
    assert await rig.sessions.redeem(ticket) is None
    late = await rig.sessions.ticket(session)
    await rig.sessions.revoke(session.id, actor=ACTOR)
    assert await rig.sessions.redeem(late) is None
    for wrong in ("", "x", text):
        assert await rig.sessions.redeem(wrong) is None
    (key,) = await rig.redis.keys("botctl:{bot}:once:ticket:*") or [b""]
    assert key == b""


async def test_link_opens_once_and_gives_its_role(rig: SessionRig) -> None:
    token = await rig.sessions.create_link("viewer", timedelta(minutes=10))
    (key,) = await rig.redis.keys("*")
    assert 590_000 < await rig.redis.pttl(key) <= 600_000
    found = await rig.sessions.find_link(token)
    link = await rig.sessions.open_link(token)
    assert link is not None
    assert found == link  # and to find it used nothing up
    assert link.expires_at == rig.clock.now() + timedelta(minutes=10)
    assert await rig.sessions.find_link(token) is None
    assert await rig.sessions.open_link(token) is None
    session = rig.session("", source=SessionSource.LINK, role=link.role, made_by=link.made_by)
    held = held_permissions(AccessRules(), session.requester(), None, rig.clock.now())
    assert held == BUILT_IN_ROLES["viewer"]
    (entry,) = rig.auditor.entries
    assert (entry.action, entry.actor.type) == ("link.create", "cli")
    with pytest.raises(UsageError, match="did you mean viewer"):
        await rig.sessions.create_link("viewr", timedelta(minutes=10))


async def test_token_of_one_kind_is_none_of_another(rig: SessionRig) -> None:
    token = await rig.tokens.put("sign-in", {"a": 1}, 60)
    assert await rig.sessions.open_link(token) is None
    assert await rig.sessions.redeem(token) is None
    assert await rig.tokens.take("sign-in", token) == {"a": 1}
    assert await rig.tokens.take("sign-in", token) is None


async def test_who_can_write_to_redis_makes_no_link(rig: SessionRig) -> None:
    token = await rig.sessions.create_link("viewer", timedelta(minutes=10))
    (key,) = await rig.redis.keys("*")
    document = json.loads(await rig.redis.get(key))
    document["value"]["role"] = "owner"
    await rig.redis.set(key, json.dumps(document))
    assert await rig.sessions.open_link(token) is None


@pytest.mark.parametrize("end", [{}, {"expires_at": None}, {"expires_at": "soon"}], ids=["none", "null", "no time"])
async def test_link_without_its_end_has_ended(rig: SessionRig, end: dict[str, Any]) -> None:
    """As older versions made them."""
    value = {"id": "link:1", "role": "viewer", "by": "ann"} | end
    token = await rig.tokens.put("link", value, 60)
    assert await rig.sessions.find_link(token) is None
    assert await rig.sessions.open_link(token) is None


async def test_ten_thousand_sessions_need_at_most_20_megabytes(rig: SessionRig) -> None:
    """Measured on a part of them."""
    count = 500
    roles = {f"{9 * 10**17 + n}": frozenset(str(10**18 + m) for m in range(4)) for n in range(2)}
    before = (await rig.redis.info("memory"))["used_memory"]
    for number in range(count):
        await rig.sessions.create(rig.session(f"{10**17 + number}", member_roles=roles, user_agent="x" * 120))
    used = (await rig.redis.info("memory"))["used_memory"] - before
    assert used / count * 10_000 <= 20_000_000


async def test_failing_redis_is_named(rig: SessionRig, monkeypatch: pytest.MonkeyPatch) -> None:
    text = await rig.sessions.create(rig.session())
    monkeypatch.setattr(rig.redis.connection_pool, "get_connection", Mock(side_effect=RedisDown("no")))
    for call in (rig.sessions.find(text), rig.sessions.list(), rig.sessions.revoke("session:1", actor=ACTOR)):
        with pytest.raises(Unreachable, match="Sessions cannot be read now: Redis failed"):
            await call

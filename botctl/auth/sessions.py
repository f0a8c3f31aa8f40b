"""The sessions of people, in Redis. `session_documents` has the form of a value, `session_scripts` the steps.

Keys of a bot: ``session:<sha256 of the text>`` (a session, which expires when it is idle or at its end), ``sessions``
(ids to digests), ``sessions:ends`` (ids by their absolute end) and ``sessions:of:<user>`` (ids of one person).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from redis.asyncio import Redis

from botctl.auth import session_scripts as scripts
from botctl.auth.one_time import is_token, new_token, token_digest
from botctl.auth.session_documents import decode_session, encode_session
from botctl.auth.signing import Signer
from botctl.core.clock import Clock, iso_ms, unix_ms
from botctl.core.config.settings import Settings
from botctl.core.contracts.audit_entry import Change, Principal, Target, current_operator, make_entry
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.events import SessionChanged, SessionEnded
from botctl.core.contracts.permissions import BUILT_IN_ROLES
from botctl.core.contracts.protocols import Auditor
from botctl.core.contracts.sessions import (
    TICKET_S,
    Found,
    Link,
    OneTimeTokens,
    Session,
    SessionSource,
    SessionStore,
)
from botctl.core.driver_errors.redis import reaching_redis
from botctl.core.errors import UsageError
from botctl.core.escape import safe
from botctl.core.suggest import suggest
from botctl.stores.quick_get import QuickGet

MAX_PER_PERSON: Final = 20
"""Sessions of one Discord user; with one more, the oldest ends."""
TOUCH_S: Final = 60.0
"""How often a use of a session is written."""
RENEWAL_GRACE_S: Final = 10.0
"""How long an old text still opens a session that has got a new one."""
_MAX_DECODED: Final = 1024
_DECODED_AT_ONCE: Final = 200
"""Of a list, before the event loop gets its turn: these take about 10 ms."""
_reaching: Final = reaching_redis("Sessions cannot be read now: Redis failed ({error}).")


@dataclass(eq=False)
class RedisSessions:
    """`SessionStore` (see there for the methods) of ``bot``. ``idle``: how long a session lives without a request."""

    redis: Redis
    bot: str
    idle: timedelta
    tokens: OneTimeTokens
    bus: Bus
    auditor: Auditor
    clock: Clock
    signer: Signer
    _reader: QuickGet = field(init=False)
    _scripts: dict[str, Any] = field(default_factory=dict, init=False)
    _decoded: dict[bytes, tuple[bytes, Session]] = field(default_factory=dict, init=False)  # by digest: the last value

    def __post_init__(self) -> None:
        self._reader = QuickGet(self.redis)
        self._keys = f"botctl:{{{self.bot}}}:"
        self._prefix = f"{self._keys}session:"
        self._ids, self._ends = f"{self._keys}sessions", f"{self._keys}sessions:ends"

    async def create(self, session: Session) -> str:
        if session.user:
            await self._make_room(session.user)
        text = new_token()
        digest = token_digest(text)
        keys = [self._prefix + digest, self._ids, self._ends, self._own_key(session)]
        times = [unix_ms(self.clock.now()), self._idle_ms, unix_ms(session.expires_at)]
        await self._call(scripts.CREATE, keys, [self._encode(session, digest), session.id, digest, *times])
        return text

    async def find(self, text: str) -> Found | None:
        """Usually one GET. A script, which costs twice as much, follows old texts, and writes a use once a minute."""
        if not is_token(text):
            return None
        digest = token_digest(text)
        with _reaching:
            value = await self._reader.get(self._prefix + digest)
        if value is None:
            return None
        session = self._decode(digest.encode(), value)
        if session is None or (self.clock.now() - session.seen_at).total_seconds() >= TOUCH_S:
            return await self._find_and_touch(digest)
        return Found(session)

    async def _find_and_touch(self, digest: str) -> Found | None:
        arguments = [digest, unix_ms(self.clock.now()), round(TOUCH_S * 1000), self._idle_ms, self._prefix]
        reply: Any = await self._call(scripts.FIND, [self._prefix + digest], arguments)
        session = None if reply is None else self._decode(reply[1], reply[0])
        return None if session is None else Found(session, replaced=reply[2] == 1)

    async def renew(self, text: str, session: Session) -> str | None:
        new_text = new_token()
        moved = await self._replace(token_digest(text), token_digest(new_text), session)
        if not moved:
            return None
        self.bus.publish(SessionChanged(session=session.id, user=session.user))
        return new_text

    async def update(
        self, session_id: str, member_roles: Mapping[str, frozenset[str]], checked_at: datetime
    ) -> Session | None:
        while True:
            found = await self._read([session_id])
            if not found:
                return None
            digest, old = found[0]
            new = replace(old, member_roles=member_roles, checked_at=checked_at)
            if await self._replace(digest, digest, new):
                if old.member_roles != member_roles:
                    self.bus.publish(SessionChanged(session=new.id, user=new.user))
                return replace(new, version=new.version + 1)

    async def revoke(self, session_id: str, *, actor: Principal | None = None, reason: str = "") -> Session | None:
        session = (await self.active([session_id])).get(session_id)
        if session is None or not await self._delete(session):
            return None
        self._report_end(session, actor or current_operator(), reason)
        return session

    async def revoke_all(self, user: str | None, *, actor: Principal | None = None, reason: str = "") -> int:
        if user is None:
            await self.tokens.drop("link")  # before the list, or one that is opened now would be missed
        ended = [session for session in await self.list(user) if await self._delete(session)]
        for session in ended:
            self._report_end(session, actor or current_operator(), reason)
        return len(ended)

    async def list(self, user: str | None = None) -> list[Session]:
        own = self._ids if user is None else f"{self._keys}sessions:of:{user}"
        found = [session for _, session in await self._read(["*"], own)]
        return sorted(found, key=lambda session: (session.created_at, session.id), reverse=True)

    async def active(self, session_ids: Collection[str]) -> Mapping[str, Session]:
        if not session_ids:
            return {}
        return {session.id: session for _, session in await self._read([*session_ids])}

    async def ticket(self, session: Session) -> str:
        return await self.tokens.put("ticket", {"session": session.id}, TICKET_S)

    async def redeem(self, ticket: str) -> Session | None:
        value = await self.tokens.take("ticket", ticket)
        return None if value is None else (await self.active([value["session"]])).get(value["session"])

    async def create_link(self, role: str, lifetime: timedelta) -> str:
        if role not in BUILT_IN_ROLES:
            sentence = f"there is no built-in role {safe(role, 40)!r}{suggest(role, list(BUILT_IN_ROLES))}"
            raise UsageError(sentence, hint=f"Choose from: {', '.join(BUILT_IN_ROLES)}.")
        link_id, actor = f"link:{secrets.token_hex(8)}", current_operator()
        expires_at = self.clock.now() + lifetime
        value = {"id": link_id, "role": role, "by": actor.name or actor.id, "expires_at": iso_ms(expires_at)}
        token = await self.tokens.put("link", value, lifetime.total_seconds())
        changes = [Change("role", None, role), Change("expires_at", None, expires_at)]
        self._record("link.create", actor, Target("link", link_id), changes=changes)
        return token

    async def find_link(self, token: str) -> Link | None:
        return _link(await self.tokens.peek("link", token))

    async def open_link(self, token: str) -> Link | None:
        return _link(await self.tokens.take("link", token))

    async def _make_room(self, user: str) -> None:
        for session in (await self.list(user))[MAX_PER_PERSON - 1 :]:
            await self.revoke(session.id, actor=session.principal(), reason=f"more than {MAX_PER_PERSON} sessions")

    async def _replace(self, old_digest: str, new_digest: str, session: Session) -> bool:
        """Store ``session`` if what is stored is what it was made of; under another digest, leave a pointer there."""
        value = self._encode(replace(session, version=session.version + 1), new_digest)
        keys = [self._prefix + old_digest, self._prefix + new_digest, self._ids]
        arguments = [value, f"{session.version:06d}", session.id, new_digest, round(RENEWAL_GRACE_S * 1000)]
        return bool(await self._call(scripts.REPLACE, keys, arguments))

    async def _read(self, ids: Sequence[str], own: str | None = None) -> Sequence[tuple[str, Session]]:
        """The sessions that have not ended, with their digests. ``["*"]``: all of the key ``own``."""
        found = await self._call(scripts.READ, [self._ids, self._ends, own or self._ids], [self._prefix, *ids])
        sessions: list[tuple[str, Session]] = []
        for at, (digest, value) in enumerate(zip(found[::2], found[1::2], strict=True), 1):
            if (session := self._decode(digest, value)) is not None:
                sessions.append((digest.decode(), session))
            if at % _DECODED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return sessions

    async def _delete(self, session: Session) -> bool:
        keys = [self._ids, self._ends, self._own_key(session)]
        return bool(await self._call(scripts.REVOKE, keys, [self._prefix, session.id]))

    async def _call(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        if script not in self._scripts:
            self._scripts[script] = self.redis.register_script(script)
        with _reaching:
            return await self._scripts[script](keys, arguments)

    def _encode(self, session: Session, digest: str) -> bytes:
        return encode_session(session, digest, self.signer)

    def _decode(self, digest: bytes, value: bytes) -> Session | None:
        """The session in ``value``; None if it has ended, or this bot has not written it.

        A value that was decoded before is not verified again: that would be half of the time of a request.
        """
        known = self._decoded.get(digest)
        if known is None or known[0] != value:
            try:
                known = value, decode_session(value, digest.decode(), self.signer)
            except ValueError:
                return None
            if len(self._decoded) >= _MAX_DECODED:
                self._decoded.clear()
            self._decoded[digest] = known
        return known[1] if known[1].expires_at > self.clock.now() else None

    @property
    def _idle_ms(self) -> int:
        return self.idle // timedelta(milliseconds=1)

    def _own_key(self, session: Session) -> str:
        return f"{self._keys}sessions:of:{session.user or SessionSource.LINK}"

    def _report_end(self, session: Session, actor: Principal, reason: str) -> None:
        owner = session.user or session.made_by
        target = Target("session", session.id, session.name or f"link of {session.made_by}")
        self._record("session.end", actor, target, reason=reason, changes=[Change("user", owner, None)])
        event = SessionEnded(session=session.id, user=session.user, actor=actor.name or actor.id, reason=reason)
        self.bus.publish(event)

    def _record(
        self, action: str, actor: Principal, target: Target, *, reason: str = "", changes: Sequence[Change] = ()
    ) -> None:
        iface = "cli" if actor.type == "cli" else "api"
        entry = make_entry(
            action, actor, at=self.clock.now(), iface=iface, target=target, reason=reason or None, changes=changes
        )
        self.auditor.record(entry)


def _link(value: Mapping[str, Any] | None) -> Link | None:
    """The link in ``value``; None if there is none, or an older botctl has made it: without its end, it has ended."""
    if value is None:
        return None
    try:
        return Link(value["id"], value["role"], value["by"], datetime.fromisoformat(value["expires_at"]))
    except (KeyError, TypeError, ValueError):
        return None


@asynccontextmanager
async def sessions(
    *,
    redis: Redis,
    settings: Settings,
    tokens: OneTimeTokens,
    bus: Bus,
    auditor: Auditor,
    clock: Clock,
    signer: Signer,
) -> AsyncIterator[SessionStore]:
    """Factory of the service."""
    idle = timedelta(seconds=settings.auth.idle_s)
    yield RedisSessions(redis, settings.bot, idle, tokens, bus, auditor, clock, signer)

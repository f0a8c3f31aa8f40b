"""Who sends a request: the session of its cookie, with rights that are current.

Each request asks the store, so an ended session ends with the next request. The Discord roles of a person are read
again when they are old. While Discord does not answer, the last known ones count; `Session.checked_at` tells their age.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from botctl.core.clock import Clock
from botctl.core.contracts.access import AccessControl, AccessRules
from botctl.core.contracts.callers import rights_of
from botctl.core.contracts.event_log import EventLog
from botctl.core.contracts.events import MemberRolesChanged
from botctl.core.contracts.sessions import Session, SessionSource, SessionStore
from botctl.core.errors import STORE_FAULTS, Unreachable
from botctl.web.member_roles import MemberRoleReader

RETRY_S: Final = 30.0
"""How long Discord is not asked again for the roles of a person after it did not answer."""
READ_LIMIT_S: Final = 10.0
"""How long reading the roles of a person may take, in all their guilds."""
_ATTEMPTS: Final = 5
_MAX_KNOWN: Final = 1024
_READ_WAIT_S: Final = 1.0
_log = logging.getLogger(__name__)


class Visit(NamedTuple):
    """A request with a session. ``new_text``: what its cookie gets, if the rights have changed."""

    session: Session
    new_text: str | None = None


class _KnownRights(NamedTuple):
    session: Session
    rules: AccessRules
    until: datetime
    rights: str


class Visitors:
    """Finds sessions, and keeps them current. ``recheck``: how old member roles may be."""

    def __init__(
        self,
        sessions: SessionStore,
        access: AccessControl,
        reader: MemberRoleReader | None,
        clock: Clock,
        recheck: timedelta,
    ) -> None:
        self._sessions = sessions
        self._access = access
        self._reader = reader
        self._clock = clock
        self._recheck = recheck
        self._refreshing: dict[str, asyncio.Task[Session | None]] = {}
        self._failed_at_s: dict[str, float] = {}
        self._known_rights: dict[str, _KnownRights] = {}

    async def visit(self, text: str) -> Visit | None:
        """The session that ``text`` opens; None if there is none. Raises Unreachable if Redis does not answer."""
        for _ in range(_ATTEMPTS):  # other requests of the page may change the session at the same time
            found = await self._sessions.find(text)
            if found is None:
                return None
            session = found.session
            if self._is_old(session):
                session = await self.refresh(session) or session
            rights = self._rights_of(session)
            if rights == session.rights or found.replaced:
                return Visit(session)
            renewed = replace(session, rights=rights)
            new_text = await self._sessions.renew(text, renewed)
            if new_text is not None:
                return Visit(renewed, new_text)
        return None

    async def member_roles(self, user: str) -> Mapping[str, frozenset[str]]:
        """The roles of ``user`` by guild, read now. Raises Unreachable."""
        if self._reader is None:
            return {}
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                return await self._reader.read(user)
        except TimeoutError as error:
            raise Unreachable(f"Discord did not answer within {READ_LIMIT_S:g} s.") from error

    async def refresh(self, session: Session) -> Session | None:
        """Read the member roles of ``session`` again; once for all requests that wait for it.

        None if Discord does not answer, or the session has ended. Raises Unreachable if Redis does not answer.
        """
        task = self._refreshing.get(session.id)
        if task is None:
            task = asyncio.create_task(self._refresh(session), name=f"refresh {session.id}")
            self._refreshing[session.id] = task
            task.add_done_callback(lambda done: self._forget(session.id, done))
        return await asyncio.shield(task)

    def _forget(self, session_id: str, task: asyncio.Task[Session | None]) -> None:
        del self._refreshing[session_id]
        if not task.cancelled():
            task.exception()  # those who wait for it get it; there may be none

    async def follow_members(self, log: EventLog) -> None:
        """Read the roles of a person again when the bot hears that they have changed. Never returns."""
        while True:
            try:
                await self._follow(log)
            except STORE_FAULTS as error:
                _log.info("changes of Discord roles are noticed within %s, and not at once: %s", self._recheck, error)
                await asyncio.sleep(_READ_WAIT_S)

    async def _follow(self, log: EventLog) -> None:
        topic = MemberRolesChanged.topic
        position = await log.position(topic)
        while True:
            page = await log.read(topic, position, wait_s=_READ_WAIT_S)
            position = page.position
            envelopes = (entry.envelope for entry in page.entries)
            users = {str(e["data"].get("user")) for e in envelopes if e.get("type") == MemberRolesChanged.type}
            sessions = [session for user in users for session in await self._sessions.list(user)]
            await asyncio.gather(*map(self._read_anew, sessions))

    async def _read_anew(self, session: Session) -> None:
        """`refresh`, with a reading that begins now: one under way may have asked Discord before the change."""
        if session.id in self._refreshing:
            await asyncio.wait([self._refreshing[session.id]])
        await self.refresh(session)

    def _rights_of(self, session: Session) -> str:
        """`rights_of`, computed again only if the session or the grants are not the same, or a grant has expired."""
        rules, now = self._access.rules, self._clock.now()
        known = self._known_rights.get(session.id)
        if known is None or known.session is not session or known.rules is not rules or known.until <= now:
            until = rules.next_expiry(now) or session.expires_at
            if len(self._known_rights) >= _MAX_KNOWN:
                self._known_rights.clear()
            known = self._known_rights[session.id] = _KnownRights(session, rules, until, rights_of(rules, session, now))
        return known.rights

    def _is_old(self, session: Session) -> bool:
        if self._reader is None or session.source is SessionSource.LINK or session.checked_at is None:
            return False
        if self._clock.monotonic() - self._failed_at_s.get(session.id, -RETRY_S) < RETRY_S:
            return False
        is_due = self._clock.now() - session.checked_at >= self._recheck
        return is_due or not self._reader.known_guilds(session.user) <= session.member_roles.keys()

    async def _refresh(self, session: Session) -> Session | None:
        checked_at = self._clock.now()
        try:
            roles = await self.member_roles(session.user)
        except Unreachable as error:
            if len(self._failed_at_s) >= _MAX_KNOWN:
                self._failed_at_s.clear()
            self._failed_at_s[session.id] = self._clock.monotonic()
            _log.info("the Discord roles of user %s stay as they were: %s", session.user, error)
            return None
        self._failed_at_s.pop(session.id, None)
        return await self._sessions.update(session.id, roles, checked_at)

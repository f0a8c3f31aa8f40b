"""End the connections of keys and sessions that ended or changed: at the event, and by looking at the stores again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

from botctl.core.clock import Clock
from botctl.core.contracts.access import AccessControl, AccessRules
from botctl.core.contracts.api_keys import ApiKey, ApiKeys
from botctl.core.contracts.callers import Caller, rights_of
from botctl.core.contracts.event_log import EventLog, Position
from botctl.core.contracts.events import KeyRevoked, KeyRotated, SessionChanged, SessionEnded
from botctl.core.contracts.sessions import Session, SessionStore
from botctl.core.errors import STORE_FAULTS, BotctlError
from botctl.realtime.connections import ConnectionRegistry
from botctl.realtime.protocol import CloseReason

RECHECK_S: Final = 5.0
"""How often the callers of open connections are checked again, for events that were missed."""
RIGHTS_S: Final = 0.25  # between two looks at whether the grants have changed
_READ_WAIT_S: Final = 1.0  # how long one read waits for an event
_RETRY_S: Final = 0.25
_log = logging.getLogger(__name__)


async def watch_ends(connections: ConnectionRegistry, log: EventLog, clock: Clock) -> None:
    """Disconnect clients when an event says that their caller ended or changed, for ever.

    `recheck` finds what this misses. While the log cannot be read, the hub says so; then this goes on where it was.
    """
    position: Position | None = None
    while True:
        try:
            position = position or await log.position(KeyRevoked.topic)
            page = await log.read(KeyRevoked.topic, position, wait_s=_READ_WAIT_S)
        except STORE_FAULTS as error:
            _log.debug("events of callers: %s", error)
            await asyncio.sleep(_RETRY_S)
            continue
        position = page.position
        for entry in page.entries:
            _handle(connections, entry.envelope, clock)


def _handle(connections: ConnectionRegistry, envelope: Mapping[str, Any], clock: Clock) -> None:
    data = envelope.get("data", {})
    match envelope.get("type"):
        case KeyRevoked.type:
            connections.disconnect_caller(str(data.get("key")))
        case KeyRotated.type:
            _end_rotated(connections, data, clock)
        case SessionEnded.type:
            connections.disconnect_caller(str(data.get("session")))
        case SessionChanged.type:
            connections.disconnect_caller(str(data.get("session")), CloseReason.ACCESS_CHANGED)


def _end_rotated(connections: ConnectionRegistry, data: Mapping[str, Any], clock: Clock) -> None:
    """Disconnect the clients of a key that was rotated when its overlap ends, which may be now."""
    try:
        key_id, end = str(data["key"]), datetime.fromisoformat(data["ends"])
    except (KeyError, TypeError, ValueError):
        return  # not as botctl writes it: `recheck` finds out
    if end.tzinfo is None or end <= clock.now():
        connections.disconnect_caller(key_id)  # also one that is being checked
    else:
        connections.end_by(key_id, end)


async def watch_rights(connections: ConnectionRegistry, access: AccessControl, clock: Clock) -> None:
    """Disconnect clients that use a right which they have lost, and tell those whose rights are other ones, for ever.

    Rights change with the grants, and when a grant expires.
    """
    before, seen = access.rules, clock.now()
    due = before.next_expiry(seen)
    while True:
        await asyncio.sleep(RIGHTS_S)
        now = clock.now()
        if access.rules is not before or (due is not None and due <= now):
            rules, due = access.rules, access.rules.next_expiry(now)
            connections.review_rights(partial(_has_other_rights, before=(before, seen), after=(rules, now)))
            before = rules
        seen = now


def _has_other_rights(
    caller: Caller, *, before: tuple[AccessRules, datetime], after: tuple[AccessRules, datetime]
) -> bool:
    return rights_of(before[0], caller, before[1]) != rights_of(after[0], caller, after[1])


async def recheck(
    connections: ConnectionRegistry,
    keys: ApiKeys,
    sessions: SessionStore | None,
    *,
    failed: Callable[[BotctlError], None],
) -> None:
    """Disconnect clients whose key or session is not valid any more, or is not as it was, for ever."""
    while True:
        await asyncio.sleep(RECHECK_S)
        callers = connections.callers
        key_ids = {caller.id for caller in callers.values() if isinstance(caller, ApiKey)}
        try:  # clients stay until the next check if a store does not answer
            _compare(connections, callers, key_ids, await keys.active(key_ids))
            if sessions is not None:
                session_ids = callers.keys() - key_ids
                _compare(connections, callers, session_ids, await sessions.active(session_ids))
        except STORE_FAULTS as error:
            failed(error)
        else:
            connections.forget_ended()


def _compare(
    connections: ConnectionRegistry, callers: Mapping[str, Caller], ids: Collection[str], active: Mapping[str, Caller]
) -> None:
    for caller_id in ids:
        if (current := active.get(caller_id)) is None:
            connections.disconnect_caller(caller_id)
        elif isinstance(current, Session) and _knows_other_roles(current, callers[caller_id]):
            connections.disconnect_caller(caller_id, CloseReason.ACCESS_CHANGED)
        else:
            connections.end_by(caller_id, current.expires_at)


def _knows_other_roles(current: Session, connected: Caller) -> bool:
    return isinstance(connected, Session) and current.member_roles != connected.member_roles

"""How a session is stored in Redis: a head of fixed width, which Redis can read and change, and signed JSON.

The head is the time of the last request (13 digits, milliseconds), the absolute end (13 digits) and the version (6
digits). The JSON is signed together with the digest of the session's text, so that write access to Redis alone opens
no session. Pure functions: no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from botctl.auth.signing import Signer
from botctl.core.clock import from_unix_ms, unix_ms
from botctl.core.contracts.sessions import Session, SessionSource

HEAD_LENGTH: Final = 32
_SIGNED_AS: Final = "sessions"
_TIME_DIGITS: Final = 13
_VERSIONS: Final = 1_000_000


def encode_session(session: Session, digest: str, signer: Signer) -> bytes:
    """``session`` as it is stored under ``digest``. Raises ConfigError if there is no secret to sign it with."""
    document = {
        "key": digest,
        "id": session.id,
        "source": session.source,
        "at": unix_ms(session.created_at),
        "ends": unix_ms(session.expires_at),
        "user": session.user,
        "name": session.name,
        "role": session.role,
        "by": session.made_by,
        "checked": session.checked_at and unix_ms(session.checked_at),
        "guilds": {guild: sorted(roles) for guild, roles in session.member_roles.items()},
        "rights": session.rights,
        "csrf": session.csrf,
        "address": session.address,
        "agent": session.user_agent,
        "version": session.version % _VERSIONS,
    }
    shortened = {name: value for name, value in document.items() if value not in ("", None, {})}
    body = json.dumps(signer.sign(_SIGNED_AS, shortened), separators=(",", ":"), ensure_ascii=False)
    head = f"{unix_ms(session.seen_at):013d}{unix_ms(session.expires_at):013d}{session.version % _VERSIONS:06d}"
    return head.encode() + body.encode("utf-8", "replace")


def decode_session(data: bytes, digest: str, signer: Signer) -> Session:
    """The session in ``data``. Raises ValueError if it is not one that this bot has stored under ``digest``."""
    try:
        seen = from_unix_ms(int(data[:_TIME_DIGITS]))
        document = json.loads(data[HEAD_LENGTH:])
        signer.require_signature(_SIGNED_AS, document)
        if document["key"] != digest:
            raise ValueError("it is the document of another session")
        return _parse(document, seen)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"it is damaged: {type(error).__name__}") from error


def _parse(document: Mapping[str, Any], seen: datetime) -> Session:
    checked = document.get("checked")
    return Session(
        id=document["id"],
        source=SessionSource(document["source"]),
        created_at=from_unix_ms(document["at"]),
        seen_at=seen,
        expires_at=from_unix_ms(document["ends"]),
        user=document.get("user", ""),
        name=document.get("name", ""),
        role=document.get("role", ""),
        made_by=document.get("by", ""),
        checked_at=None if checked is None else from_unix_ms(checked),
        member_roles={guild: frozenset(roles) for guild, roles in document.get("guilds", {}).items()},
        rights=document.get("rights", ""),
        csrf=document.get("csrf", ""),
        address=document.get("address", ""),
        user_agent=document.get("agent", ""),
        version=document.get("version", 0),
    )

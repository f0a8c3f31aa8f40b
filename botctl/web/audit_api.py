"""``/api/audit``: the audit log, for those who may read it; all of it, or the entries of one guild."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from aiohttp import web

from botctl.core.clock import Clock
from botctl.core.contracts.audit_entry import AuditOutcome
from botctl.core.contracts.audit_log import AuditReader
from botctl.core.contracts.permissions import AUDIT_READ
from botctl.core.timeparse import parse_time
from botctl.web.api import parse_guild
from botctl.web.requests import CONTEXT
from botctl.web.responses import RequestRefused, json_response

MAX_ENTRIES: Final = 200
_DEFAULT_ENTRIES: Final = 50
_MAX_TEXT: Final = 200


class AuditApi:
    """The handler."""

    def __init__(self, reader: AuditReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/api/audit", self.read)]

    async def read(self, request: web.Request) -> web.StreamResponse:
        """One page of entries, the newest first. Without the permission for the whole bot, a guild must be named."""
        context, query = request[CONTEXT], request.query
        session = await context.require_session(request)
        guild = parse_guild(request)
        context.require(session, AUDIT_READ, guild)
        page = await self._reader.page(
            actor=_text(query, "actor"),
            action=_text(query, "action"),
            guild=guild,
            outcome=_outcome(query),
            since=self._time(query, "since"),
            until=self._time(query, "until"),
            limit=_limit(query),
            before=_text(query, "before"),
        )
        return json_response({"entries": page.entries, "next": page.next})

    def _time(self, query: Mapping[str, str], name: str) -> datetime | None:
        text = _text(query, name)
        try:
            return None if text is None else parse_time(text, self._clock.now())
        except ValueError as error:
            raise RequestRefused(400, f"{name}: {error}.") from None


def _text(query: Mapping[str, str], name: str) -> str | None:
    text = query.get(name) or None
    if text is not None and len(text) > _MAX_TEXT:
        raise RequestRefused(400, f"{name} may have {_MAX_TEXT} characters.")
    return text


def _outcome(query: Mapping[str, str]) -> AuditOutcome | None:
    text = _text(query, "outcome")
    if text is not None and text not in set(AuditOutcome):
        raise RequestRefused(400, f"outcome must be one of {', '.join(AuditOutcome)}.")
    return None if text is None else AuditOutcome(text)


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("limit", str(_DEFAULT_ENTRIES))
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_ENTRIES))
    if not (is_number and 1 <= int(text) <= MAX_ENTRIES):
        raise RequestRefused(400, f"limit must be a number from 1 to {MAX_ENTRIES}.")
    return int(text)

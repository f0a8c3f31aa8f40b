"""What is looked for in the audit log: as a filter of MongoDB, and as a decision over one entry. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from botctl.core.clock import iso_ms, unix_ms
from botctl.core.contracts.audit_entry import AuditOutcome

WILDCARD: Final = "*"
_ANYTHING: Final = r"[\s\S]*"  # "." knows no newline, and a custom id may hold one
_END: Final = r"(?![\s\S])"  # "$" would let a newline follow


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """All of these must hold; None holds always. ``*`` in ``actor`` and ``action`` stands for any characters.

    ``actor`` is an id or a name. ``since`` is included, ``until`` is not.
    """

    actor: str | None = None
    action: str | None = None
    guild: str | None = None
    outcome: AuditOutcome | None = None
    since: datetime | None = None
    until: datetime | None = None

    def filter(self) -> dict[str, Any]:
        """The filter for documents of the log.

        Two whole alternatives for the actor: the embedded store finds nothing with ``$or`` within ``$elemMatch``.
        """
        bounds = {"$gte": self.since and unix_ms(self.since), "$lt": self.until and unix_ms(self.until)}
        at = {key: value for key, value in bounds.items() if value is not None}
        fields = {
            "action": None if self.action is None else _pattern(self.action),
            "guild": self.guild,
            "outcome": self.outcome and self.outcome.value,
        }
        wanted = {key: value for key, value in fields.items() if value is not None}
        found: dict[str, Any] = {"at": at} if at else {}
        if self.actor is not None:
            who = _pattern(self.actor)
            found["$or"] = [{"x": {"$elemMatch": wanted | {field: who}}} for field in ("actor", "name")]
        elif wanted:
            found["x"] = {"$elemMatch": wanted}
        return found

    def matches(self, fields: Mapping[str, Any]) -> bool:
        """Whether the filter would find a document with these index fields (one element of ``x``)."""
        at = fields["at"]
        return (
            (self.since is None or at >= iso_ms(self.since))
            and (self.until is None or at < iso_ms(self.until))
            and (self.guild is None or fields.get("guild") == self.guild)
            and (self.outcome is None or fields.get("outcome") == self.outcome)
            and (self.action is None or _is(self.action, fields.get("action")))
            and (self.actor is None or _is(self.actor, fields.get("actor")) or _is(self.actor, fields.get("name")))
        )


def _pattern(text: str) -> str | dict[str, str]:
    return {"$regex": _expression(text)} if WILDCARD in text else text


def _is(text: str, value: str | None) -> bool:
    if value is None:
        return False
    return re.match(_expression(text), value) is not None if WILDCARD in text else text == value


def _expression(text: str) -> str:
    """``text`` as a regular expression that Python's engine and MongoDB's read alike; an index serves its beginning."""
    return "^" + _ANYTHING.join(map(re.escape, text.split(WILDCARD))) + _END

"""A query of the audit log, as a MongoDB filter and as a predicate over one entry. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from botctl.core.clock import iso_ms, unix_ms
from botctl.core.contracts.audit_entry import AuditOutcome

WILDCARD: Final = "*"
_ANYTHING: Final = r"[\s\S]*"  # "." does not match a newline, which a custom id may contain
_END: Final = r"(?![\s\S])"  # "$" would accept a newline at the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Conditions on an entry, which must all hold. None: no condition."""

    actor: str | None = None  # an id or a name; ``*`` stands for any characters
    action: str | None = None  # as `actor`
    guild: str | None = None  # an id
    outcome: AuditOutcome | None = None
    since: datetime | None = None  # inclusive
    until: datetime | None = None  # exclusive

    def filter(self) -> dict[str, Any]:
        """The MongoDB filter.

        For the actor, ``$or`` encloses two ``$elemMatch``: the embedded store finds nothing when an
        ``$elemMatch`` contains ``$or``.
        """
        bounds = {"$gte": self.since and unix_ms(self.since), "$lt": self.until and unix_ms(self.until)}
        at = {key: value for key, value in bounds.items() if value is not None}
        fields = {
            "action": None if self.action is None else _pattern(self.action),
            "guild": self.guild,
            "outcome": self.outcome and self.outcome.value,
        }
        conditions = {key: value for key, value in fields.items() if value is not None}
        result: dict[str, Any] = {"at": at} if at else {}
        if self.actor is not None:
            actor = _pattern(self.actor)
            result["$or"] = [{"x": {"$elemMatch": conditions | {field: actor}}} for field in ("actor", "name")]
        elif conditions:
            result["x"] = {"$elemMatch": conditions}
        return result

    def matches(self, fields: Mapping[str, Any]) -> bool:
        """Whether the filter would find a document with these search fields.

        They are an element of the document's array ``x``, see `writer`.
        """
        at = fields["at"]
        return (
            (self.since is None or at >= iso_ms(self.since))
            and (self.until is None or at < iso_ms(self.until))
            and (self.guild is None or fields.get("guild") == self.guild)
            and (self.outcome is None or fields.get("outcome") == self.outcome)
            and (self.action is None or matches_text(self.action, fields.get("action")))
            and (
                self.actor is None
                or matches_text(self.actor, fields.get("actor"))
                or matches_text(self.actor, fields.get("name"))
            )
        )


def _pattern(text: str) -> str | dict[str, str]:
    """The condition of the MongoDB filter for ``text``, which may contain ``*``."""
    return {"$regex": _expression(text)} if WILDCARD in text else text


def matches_text(text: str, value: str | None) -> bool:
    """Whether ``text``, in which ``*`` stands for any characters, matches ``value``."""
    if value is None:
        return False
    return re.match(_expression(text), value) is not None if WILDCARD in text else text == value


def _expression(text: str) -> str:
    """``text`` as a regular expression that Python and MongoDB read alike.

    MongoDB can use an index for the text before the first ``*``.
    """
    return "^" + _ANYTHING.join(map(re.escape, text.split(WILDCARD))) + _END

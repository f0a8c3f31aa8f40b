"""The stored audit log, for readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from botctl.core.contracts.audit_entry import AuditOutcome


class AuditPage(NamedTuple):
    """Entries as `botctl audit log --json` prints them, the newest first.

    ``next``: what to give as ``before`` for the entries before them; None if there are none.
    """

    entries: Sequence[Mapping[str, Any]]
    next: str | None


class AuditReader(Protocol):
    async def page(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        guild: str | None = None,
        outcome: AuditOutcome | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> AuditPage:
        """The newest ``limit`` entries that fit all conditions. ``actor`` and ``action`` may contain ``*``.

        Raises UsageError if ``before`` is not the ``next`` of a page, Unreachable if MongoDB does not answer.
        """
        ...

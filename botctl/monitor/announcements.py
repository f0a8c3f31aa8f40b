"""When a change of the bot's verdict is announced, and where. Pure functions: no I/O.

A verdict counts when two looks in a row have it, so that one late answer changes nothing. The phases of a deploy
(draining, starting, waiting) are announced as events only. The audit log has the changes between all other verdicts: a
deploy that begins and ends healthy is no entry there.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from datetime import datetime

from botctl.core.clock import iso_ms
from botctl.core.contracts.events import HealthChanged
from botctl.core.contracts.health import Diagnosis, Health


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """What was announced last. ``settled``: the last verdict that was no phase of a deploy. ``since``: ISO 8601.

    A bot that was never seen counts as one that starts, and was healthy before.
    """

    verdict: Health = Health.STARTING
    settled: Health = Health.HEALTHY
    since: str = ""

    def encode(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True).encode()


NEVER = Announced()


def parse_announced(text: bytes) -> Announced:
    """What `Announced.encode` wrote; `NEVER` if ``text`` is empty or of another version."""
    try:
        value = json.loads(text)
        return Announced(
            verdict=Health(value["verdict"]), settled=Health(value["settled"]), since=str(value.get("since", ""))
        )
    except (ValueError, TypeError, KeyError):
        return NEVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The verdict on the bot at the time ``at``."""

    found: Diagnosis
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A change from ``before`` to ``after``, and what was found."""

    before: Announced
    after: Announced
    found: Diagnosis

    @property
    def is_settled(self) -> bool:
        """Whether it is more than a phase of a deploy, and belongs into the audit log."""
        return self.before.settled is not self.after.settled

    @property
    def level(self) -> int:
        """Of the log line: a warning if the bot is worse than it was before, apart from phases of a deploy."""
        worse = self.after.settled.severity > self.before.settled.severity
        return logging.WARNING if self.is_settled and worse else logging.INFO

    @property
    def sentence(self) -> str:
        """For the log: ``the bot is deaf (it was healthy): …``."""
        action = f"; {self.found.action}" if self.found.action else ""
        return f"the bot is {self.after.verdict} (it was {self.before.verdict}): {self.found.why}{action}"

    def event(self) -> HealthChanged:
        found = self.found
        return HealthChanged(
            old=self.before.verdict,
            new=self.after.verdict,
            why=found.why,
            action=found.action,
            process=found.proc,
            shard=found.shard,
            since=self.after.since,
        )


def announcement(before: Announced, older: Look | None, newer: Look) -> Announcement | None:
    """What to announce after two looks in a row; None if there is nothing new, or they do not agree."""
    verdict = newer.found.verdict
    if older is None or older.found.verdict is not verdict or verdict is before.verdict:
        return None
    settled = before.settled if verdict.passes else verdict
    after = Announced(verdict=verdict, settled=settled, since=iso_ms(older.at))
    return Announcement(before=before, after=after, found=newer.found)

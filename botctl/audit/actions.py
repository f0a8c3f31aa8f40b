"""The actions that botctl records, apart from interactions; and what a mistyped one may mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from botctl.audit.query import WILDCARD, matches_text
from botctl.core.escape import safe
from botctl.core.suggest import suggest

ACTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "run.start": "All services of a `botctl run` are ready.",
        "run.stop": "It stops, with the exit code. A start without a stop was killed.",
        "service.degraded": "A service does not work as it should.",
        "service.ready": "It works again.",
        "service.failed": "It ended.",
        "health.changed": "The verdict on the bot changed, other than for a start or a stop.",
        "job.run": "A run of a job ended.",
        "job.request": "Someone asked for a run.",
        "job.pause": "A job was paused.",
        "job.resume": "A job goes on.",
        "migration.up": "A migration was applied: its begin, and its end.",
        "migration.down": "A migration was undone: its begin, and its end.",
        "migration.resolve": "Someone said what the state of a migration is.",
        "guild.settings.set": "Settings of a guild were changed, each with its old value.",
        "ratelimit.reset": "The limits of a subject were reset.",
        "gateway.reconnect": "Shards connect again.",
        "gateway.login_now": "A bot that waited for logins may log in.",
        "gateway.start_now": "A bot was started with `--now`.",
        "role.grant": "A role was granted.",
        "role.revoke": "A grant was taken back.",
        "key.create": "An API key was created.",
        "key.rotate": "A key was replaced by another one.",
        "key.revoke": "A key was revoked.",
        "key.delete": "A key that botctl did not write was deleted.",
        "key.use": "A key was used, or refused: one entry for all uses within ten seconds.",
        "ticket.use": "A ticket of the web page was refused.",
        "auth.sign-again": "Keys and grants were signed with a new secret.",
        "link.create": "A link that signs in once was made.",
        "session.begin": "Someone signed in on the web page, or was refused.",
        "session.end": "A session ended: by whom, and why.",
        "audit.lost": "The database did not take entries as fast as they came; how many were lost.",
    }
)
INTERACTIONS: Final = ("command", "component", "modal")
"""What the actions of interactions begin with: ``command.roll``."""
_PARTS: Final = re.compile(r"[.:]")


def describe_unknown(pattern: str) -> str:
    """If no action can match ``pattern`` (``jobs.*``): a sentence about it, and which there are. Else empty."""
    area = _PARTS.split(pattern, maxsplit=1)[0]
    if WILDCARD in area or area in INTERACTIONS or any(matches_text(pattern, action) for action in ACTIONS):
        return ""
    areas = dict.fromkeys(f"{action.partition('.')[0]}.{WILDCARD}" for action in ACTIONS)
    others = ", ".join(f"{kind}.NAME" for kind in INTERACTIONS)
    meant = suggest(pattern.replace(":", "."), [*ACTIONS, *areas])
    return f"There is no action {safe(pattern, 60)!r}{meant} There are: {', '.join(ACTIONS)}; {others}."

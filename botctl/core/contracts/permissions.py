"""The permissions, and the built-in roles that carry them. docs/security.md lists both.

A permission is ``area:action``. What carries permissions (a role, an API key) may name them with ``*``: ``jobs:*`` is
every permission of an area, ``*`` is every permission. The area ``events`` has one for each topic: ``events:commands``,
and those of the operator's own events too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from botctl.core.contracts.event_log import is_topic
from botctl.core.contracts.events import BY_TYPE

EVERYTHING: Final = "*"
EVERY_EVENT: Final = "events:*"
EVENTS: Final = "events:"
"""The beginning of the permissions to read a topic."""

AUDIT_READ: Final = "audit:read"
STATUS_READ: Final = "status:read"
GATEWAY_WRITE: Final = "gateway:write"
JOBS_READ: Final = "jobs:read"
JOBS_RUN: Final = "jobs:run"
JOBS_WRITE: Final = "jobs:write"
RATELIMIT_READ: Final = "ratelimit:read"
RATELIMIT_WRITE: Final = "ratelimit:write"
GUILD_SETTINGS_READ: Final = "guild-settings:read"
GUILD_SETTINGS_WRITE: Final = "guild-settings:write"
MIGRATIONS_READ: Final = "migrations:read"
MIGRATIONS_WRITE: Final = "migrations:write"
KEYS_READ: Final = "keys:read"
KEYS_ADMIN: Final = "keys:admin"
GRANTS_READ: Final = "grants:read"
GRANTS_ADMIN: Final = "grants:admin"
SESSIONS_ADMIN: Final = "sessions:admin"

_TOPIC_PERMISSIONS: Final = {
    f"{EVENTS}{topic}": f"Read the events of the topic `{topic}`."
    for topic in sorted({event.topic for event in BY_TYPE.values()})
}
PERMISSIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        STATUS_READ: "See the state of processes, services and shards; `/metrics`, why of `/readyz` and `/verdict`.",
        GATEWAY_WRITE: "Let shards reconnect, and logins begin that wait.",
        AUDIT_READ: "Read the audit log.",
        JOBS_READ: "See jobs and their runs.",
        JOBS_RUN: "Run a job now.",
        JOBS_WRITE: "Pause and resume jobs.",
        RATELIMIT_READ: "See rate limits, and who has used how much of them.",
        RATELIMIT_WRITE: "Reset rate limits.",
        GUILD_SETTINGS_READ: "See the settings of guilds.",
        GUILD_SETTINGS_WRITE: "Change the settings of guilds.",
        MIGRATIONS_READ: "See the state of migrations.",
        MIGRATIONS_WRITE: "Apply, revert and resolve migrations.",
        KEYS_READ: "See API keys (never their secrets).",
        KEYS_ADMIN: "Create, rotate and revoke API keys.",
        GRANTS_READ: "See who has which role, and why.",
        GRANTS_ADMIN: "Grant and revoke roles.",
        SESSIONS_ADMIN: "See who is signed in, and end sessions.",
        **_TOPIC_PERMISSIONS,
    }
)
"""Every permission that botctl knows, and what it allows."""

VIEWER: Final = "viewer"
OPERATOR: Final = "operator"
ADMIN: Final = "admin"
OWNER: Final = "owner"
_VIEWER: Final = frozenset(
    {STATUS_READ, JOBS_READ, RATELIMIT_READ, GUILD_SETTINGS_READ, MIGRATIONS_READ}
    | {permission for permission in _TOPIC_PERMISSIONS if permission != f"{EVENTS}access"}
)
_OPERATOR: Final = _VIEWER | {AUDIT_READ, GATEWAY_WRITE, JOBS_RUN, JOBS_WRITE, RATELIMIT_WRITE, GUILD_SETTINGS_WRITE}
_ADMIN: Final = _OPERATOR | {KEYS_READ, KEYS_ADMIN, GRANTS_READ, SESSIONS_ADMIN, MIGRATIONS_WRITE, EVERY_EVENT}
BUILT_IN_ROLES: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {VIEWER: _VIEWER, OPERATOR: _OPERATOR, ADMIN: _ADMIN, OWNER: frozenset({EVERYTHING})}
)
"""The built-in roles, each with all permissions of the one before: owner, with every permission, may also grant."""

_AREAS: Final = frozenset(permission.partition(":")[0] for permission in PERMISSIONS)


def covers(pattern: str, permission: str) -> bool:
    """Whether ``pattern`` (``jobs:run``, ``jobs:*`` or ``*``) includes ``permission``."""
    return pattern in (permission, EVERYTHING) or (
        pattern.endswith(":*") and permission.startswith(pattern[:-1]) and permission != pattern
    )


def any_covers(patterns: Collection[str], permission: str) -> bool:
    """Whether one of ``patterns`` covers ``permission``: by look-ups, since every decision asks for many grants."""
    return permission in patterns or EVERYTHING in patterns or f"{permission.partition(':')[0]}:*" in patterns


def is_permission(text: str) -> bool:
    """Whether ``text`` is a known permission, or one of a topic of the operator's own."""
    return text in PERMISSIONS or (text.startswith(EVENTS) and is_topic(text.removeprefix(EVENTS)))


def is_pattern(text: str) -> bool:
    """Whether a role or a key may name ``text``: a permission, ``*``, or an area and ``*``."""
    area, _, action = text.partition(":")
    return text == EVERYTHING or (action == EVERYTHING and area in _AREAS) or is_permission(text)


def roles_with(permission: str) -> list[str]:
    """The built-in roles that carry ``permission``, the one with the fewest permissions first."""
    return [name for name, patterns in BUILT_IN_ROLES.items() if any_covers(patterns, permission)]

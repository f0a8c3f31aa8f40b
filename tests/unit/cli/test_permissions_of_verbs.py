"""Each command, action, state and topic has a permission, so that the list of them is complete."""

from __future__ import annotations

from botctl.core.contracts import permissions
from botctl.core.contracts.events import BY_TYPE
from botctl.core.contracts.states import STATE_PERMISSIONS
from botctl.realtime.actions import ACTIONS
from tests.support.verbs import CALLS

CHANGING = {
    "audit log": permissions.AUDIT_READ,
    "auth grant": permissions.GRANTS_ADMIN,
    "auth revoke": permissions.GRANTS_ADMIN,
    "auth who": permissions.GRANTS_READ,
    "auth explain": permissions.GRANTS_READ,
    "auth sign-again": permissions.GRANTS_ADMIN,
    "auth sessions list": permissions.SESSIONS_ADMIN,
    "auth sessions revoke": permissions.SESSIONS_ADMIN,
    "auth key create": permissions.KEYS_ADMIN,
    "auth key list": permissions.KEYS_READ,
    "auth key revoke": permissions.KEYS_ADMIN,
    "auth key rotate": permissions.KEYS_ADMIN,
    "gateway login": permissions.GATEWAY_WRITE,
    "gateway plan": permissions.STATUS_READ,
    "gateway restart": permissions.GATEWAY_WRITE,
    "gateway status": permissions.STATUS_READ,
    "jobs list": permissions.JOBS_READ,
    "jobs pause": permissions.JOBS_WRITE,
    "jobs resume": permissions.JOBS_WRITE,
    "jobs run": permissions.JOBS_RUN,
    "migrate down": permissions.MIGRATIONS_WRITE,
    "migrate resolve": permissions.MIGRATIONS_WRITE,
    "migrate status": permissions.MIGRATIONS_READ,
    "migrate up": permissions.MIGRATIONS_WRITE,
    "monitor": permissions.STATUS_READ,
    "ratelimit list": permissions.RATELIMIT_READ,
    "ratelimit reset": permissions.RATELIMIT_WRITE,
    "ratelimit show": permissions.RATELIMIT_READ,
    "settings reset": permissions.GUILD_SETTINGS_WRITE,
    "settings set": permissions.GUILD_SETTINGS_WRITE,
    "settings show": permissions.GUILD_SETTINGS_READ,
    "stores": permissions.STATUS_READ,
}
ONLY_HERE = (
    "run",
    "init",
    "doctor intents",
    "doctor permissions",
    "health",
    "migrate create",
    "sandbox",
    "auth link",
    "auth url",
)
"""What works with files and processes of this machine: no one can be permitted to do it from elsewhere."""


def test_every_command_has_a_permission_or_works_here_only() -> None:
    elsewhere = {path for path in CALLS if path not in ONLY_HERE and not path.startswith("sandbox ")}
    assert elsewhere == CHANGING.keys()


def test_every_permission_but_those_of_topics_is_used() -> None:
    known = {name for name in permissions.PERMISSIONS if not name.startswith(permissions.EVENTS)}
    assert set(CHANGING.values()) == known


ACTION_VERBS = {
    "jobs.run": "jobs run",
    "jobs.pause": "jobs pause",
    "jobs.resume": "jobs resume",
    "limits.reset": "ratelimit reset",
    "keys.revoke": "auth key revoke",
    "grants.revoke": "auth revoke",
    "guild-settings.set": "settings set",
}
STATE_VERBS = {
    "processes": "monitor",
    "services": "monitor",
    "shards": "monitor",
    "counts": "monitor",
    "jobs": "jobs list",
    "limits": "ratelimit list",
    "keys": "auth key list",
    "grants": "auth who",
    "sessions": "auth sessions list",
}


def test_actions_and_states_need_the_permission_of_their_command() -> None:
    assert {name: CHANGING[verb] for name, verb in ACTION_VERBS.items()} == {
        name: action.permission for name, action in ACTIONS.items()
    }
    assert {name: CHANGING[verb] for name, verb in STATE_VERBS.items()} == STATE_PERMISSIONS


def test_every_topic_has_a_permission() -> None:
    topics = {event.topic for event in BY_TYPE.values() if event.__module__.startswith("botctl.")}
    assert {f"{permissions.EVENTS}{topic}" for topic in topics} <= permissions.PERMISSIONS.keys()

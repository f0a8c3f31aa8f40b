"""Reading a guild's audit log (Discord: Audit Logs resource > Get Guild Audit Log)."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.model import payloads
from botctl.sandbox.model.api_error import FormErrors
from botctl.sandbox.model.world import Guild, GuildAuditEntry, World
from botctl.sandbox.rest import access
from botctl.sandbox.rest.routing import PREFIX, ApiCall, route

Json = dict[str, Any]
_DEFAULT, _MOST = 50, 100


@route("GET", "/guilds/{guild}/audit-logs")
def get_audit_log(call: ApiCall) -> Json:
    """The newest first; with ``after`` the oldest of those after it first."""
    guild = access.guild_of(call, "VIEW_AUDIT_LOG")
    query, errors = dict(call.query), FormErrors()
    wanted = {name: errors.snowflake((), query, name) for name in ("user_id", "action_type", "before", "after")}
    errors.check()
    limit = call.limit(_DEFAULT, _MOST)
    found = [one for one in guild.audit_log if _matches(one, wanted)]
    shown = found[:limit] if wanted["after"] else found[::-1][:limit]
    entries = [payloads.audit_entry(one) for one in shown]
    return {"audit_log_entries": entries, **_named(call.sandbox.world, guild, shown, call.sandbox.url + PREFIX)}


def _matches(one: GuildAuditEntry, wanted: dict[str, str | None]) -> bool:
    return (
        wanted["user_id"] in (None, one.user_id)
        and wanted["action_type"] in (None, str(one.action))
        and (wanted["before"] is None or int(one.id) < int(wanted["before"]))
        and (wanted["after"] is None or int(one.id) > int(wanted["after"]))
    )


def _named(world: World, guild: Guild, shown: list[GuildAuditEntry], api: str) -> Json:
    """What the entries speak of, as far as it still exists."""
    ids = dict.fromkeys(one for entry in shown for one in (entry.user_id, entry.target_id) if one is not None)
    commands = {
        key: one for app in world.applications.values() for scope in app.commands.values() for key, one in scope.items()
    }
    threads = [guild.threads[one] for one in ids if one in guild.threads]
    return {
        "users": [payloads.user(world.users[one]) for one in ids if one in world.users],
        "threads": [payloads.thread(one, one.thread) for one in threads if one.thread],
        "application_commands": [commands[one] for one in ids if one in commands],
        "webhooks": [payloads.webhook(world.webhooks[one], world, api=api) for one in ids if one in world.webhooks],
        "integrations": [],
        "guild_scheduled_events": [
            payloads.scheduled_event(guild.scheduled_events[one], world) for one in ids if one in guild.scheduled_events
        ],
        "auto_moderation_rules": [guild.auto_moderation[one] for one in ids if one in guild.auto_moderation],
    }

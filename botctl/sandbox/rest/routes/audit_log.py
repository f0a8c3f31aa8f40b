"""The guild's audit log (Discord: Audit Logs resource > Get Guild Audit Log)."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.model import payloads
from botctl.sandbox.model.api_error import FormErrors
from botctl.sandbox.model.world import Guild, GuildAuditEntry, World
from botctl.sandbox.rest import access
from botctl.sandbox.rest.routing import PREFIX, ApiCall, route

Json = dict[str, Any]
_DEFAULT_LIMIT, _MAX_LIMIT = 50, 100


@route("GET", "/guilds/{guild}/audit-logs")
def get_audit_log(call: ApiCall) -> Json:
    """Newest first; with ``after``, oldest first."""
    guild = access.get_guild(call, "VIEW_AUDIT_LOG")
    query, errors = dict(call.query), FormErrors()
    filters = {name: errors.snowflake((), query, name) for name in ("user_id", "action_type", "before", "after")}
    errors.check()
    limit = call.limit(_DEFAULT_LIMIT, _MAX_LIMIT)
    matching = [entry for entry in guild.audit_log if _matches(entry, filters)]
    page = matching[:limit] if filters["after"] else matching[::-1][:limit]
    entries = [payloads.audit_entry(entry) for entry in page]
    return {
        "audit_log_entries": entries,
        **_referenced_objects(call.sandbox.world, guild, page, call.sandbox.url + PREFIX),
    }


def _matches(entry: GuildAuditEntry, filters: dict[str, str | None]) -> bool:
    return (
        filters["user_id"] in (None, entry.user_id)
        and filters["action_type"] in (None, str(entry.action))
        and (filters["before"] is None or int(entry.id) < int(filters["before"]))
        and (filters["after"] is None or int(entry.id) > int(filters["after"]))
    )


def _referenced_objects(world: World, guild: Guild, page: list[GuildAuditEntry], api_url: str) -> Json:
    """The objects that the entries name, if they still exist."""
    ids = dict.fromkeys(
        target_id for entry in page for target_id in (entry.user_id, entry.target_id) if target_id is not None
    )
    commands = {
        key: command
        for app in world.applications.values()
        for scope in app.commands.values()
        for key, command in scope.items()
    }
    threads = [guild.threads[target_id] for target_id in ids if target_id in guild.threads]
    return {
        "users": [payloads.user(world.users[target_id]) for target_id in ids if target_id in world.users],
        "threads": [payloads.thread(thread, thread.thread) for thread in threads if thread.thread],
        "application_commands": [commands[target_id] for target_id in ids if target_id in commands],
        "webhooks": [
            payloads.webhook(world.webhooks[target_id], world, api=api_url)
            for target_id in ids
            if target_id in world.webhooks
        ],
        "integrations": [],
        "guild_scheduled_events": [
            payloads.scheduled_event(guild.scheduled_events[target_id], world)
            for target_id in ids
            if target_id in guild.scheduled_events
        ],
        "auto_moderation_rules": [
            guild.auto_moderation[target_id] for target_id in ids if target_id in guild.auto_moderation
        ],
    }

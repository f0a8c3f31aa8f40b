"""Entries in a guild's audit log for what a bot did over REST."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.actions import audit_log
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model.world import Guild, GuildAuditEntry
from botctl.sandbox.rest.routing import ApiCall

Json = dict[str, Any]


def write_entry(
    call: ApiCall,
    guild: Guild,
    action: AuditAction,
    target_id: str | None,
    *,
    changes: list[Json] | None = None,
    options: Json | None = None,
) -> None:
    """Write an entry for the calling bot, with the reason from its request."""
    entry = GuildAuditEntry(
        call.sandbox.world.new_id(), call.app.id, action, target_id, changes or [], call.reason, options or {}
    )
    audit_log.record(call.sandbox, guild, entry)

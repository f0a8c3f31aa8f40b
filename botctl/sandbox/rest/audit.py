"""What a bot did over REST, written into the guild's audit log."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.actions import audit_log
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model.world import Guild, GuildAuditEntry
from botctl.sandbox.rest.routing import ApiCall

Json = dict[str, Any]


def note(
    call: ApiCall,
    guild: Guild,
    action: AuditAction,
    target_id: str | None,
    *,
    changes: list[Json] | None = None,
    options: Json | None = None,
) -> None:
    """Write down what the calling bot did, with the reason that its request gave."""
    entry = GuildAuditEntry(
        call.sandbox.world.new_id(), call.app.id, action, target_id, changes or [], call.reason, options or {}
    )
    audit_log.record(call.sandbox, guild, entry)

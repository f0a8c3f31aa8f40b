"""Changing the command permissions of an application in a guild."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.actions.audit_log import AuditAction, diff, record
from botctl.sandbox.model.commands.permissions import parse_overwrites, payload
from botctl.sandbox.model.world import Application, Guild, GuildAuditEntry
from botctl.sandbox.sandbox import Sandbox

Json = dict[str, Any]


def put(sandbox: Sandbox, app: Application, guild: Guild, target_id: str, items: list[Json], *, by: str) -> Json:
    """Replace the overwrites of a command or of ``app`` (``target_id``), as the user ``by``. Raises 50035 (invalid)."""
    wanted = parse_overwrites(items)
    stored = app.command_permissions.setdefault(guild.id, {})
    before = {overwrite["id"]: overwrite for overwrite in stored.get(target_id, [])}
    stored[target_id] = wanted
    if not wanted:
        del stored[target_id]
    after = {overwrite["id"]: overwrite for overwrite in wanted}
    result = payload(app, guild.id, target_id)
    sandbox.emit("APPLICATION_COMMAND_PERMISSIONS_UPDATE", result, guild.id, application_id=app.id)
    action, options = AuditAction.APPLICATION_COMMAND_PERMISSION_UPDATE, {"application_id": app.id}
    entry_id = sandbox.world.new_id()
    record(sandbox, guild, GuildAuditEntry(entry_id, by, action, target_id, diff(before, after), options=options))
    return result

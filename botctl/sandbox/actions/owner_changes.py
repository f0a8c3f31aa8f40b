"""Changes that a guild's owner makes: roles, overwrites, kicks, bans, timeouts, command permissions.

`world_changes.apply` calls these functions by name. The docstrings show the JSON ``body``: values are names or ids,
fields with ``?`` are optional, and the default guild is the first.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from botctl.core.errors import UsageError
from botctl.sandbox.actions import audit_log, command_permissions, moderation
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import lookup, payloads, permission_bits
from botctl.sandbox.model.commands.permissions import CHANNEL, ROLE, USER, all_channels_id
from botctl.sandbox.model.world import Application, Guild, GuildAuditEntry, Member, Overwrite, discord_time
from botctl.sandbox.sandbox import Sandbox

Json = dict[str, Any]


def edit_role(sandbox: Sandbox, body: Json) -> Json:
    """``{"role", "name"?, "permissions"?, "allow": [permissions]?, "deny": [permissions]?, "guild"?}``.

    ``permissions`` replaces the role's permissions; ``allow`` and ``deny`` change them.
    """
    guild = lookup.guild(sandbox.world, body.get("guild"))
    role = lookup.role(guild, str(body["role"]))
    before = payloads.role(role)
    granted = role.permissions if body.get("permissions") is None else int(body["permissions"])
    role.permissions = (granted | _permission_bits(body, "allow")) & ~_permission_bits(body, "deny")
    role.name = str(body.get("name") or role.name)
    moderation.emit_role_update(sandbox, guild, role)
    _record_audit(sandbox, guild, AuditAction.ROLE_UPDATE, role.id, changes=audit_log.diff(before, payloads.role(role)))
    return {"id": role.id, "permissions": str(role.permissions)}


def set_overwrite(sandbox: Sandbox, body: Json) -> Json:
    """``{"channel", "role" or "member", "allow": [permissions]?, "deny": [permissions]?, "guild"?}``.

    With neither ``allow`` nor ``deny`` the overwrite is removed.
    """
    guild = lookup.guild(sandbox.world, body.get("guild"))
    channel = lookup.channel(guild, str(body["channel"]))
    kind = 0 if body.get("member") is None else 1
    member = lookup.member(sandbox.world, guild, str(body["member"])) if kind else None
    target = member.user_id if member else lookup.role(guild, str(body["role"])).id
    wanted = Overwrite(target, kind, _permission_bits(body, "allow"), _permission_bits(body, "deny"))
    after = {key: overwrite for key, overwrite in channel.overwrites.items() if key != target}
    moderation.set_overwrites(sandbox, channel, after | ({target: wanted} if wanted.allow | wanted.deny else {}))
    return {"id": target}


def remove_member(sandbox: Sandbox, body: Json) -> Json:
    """``{"member", "kicked"?, "reason"?, "guild"?}``: the member leaves; with ``kicked`` true the owner kicks them."""
    guild, member = _member(sandbox, body)
    moderation.remove_member(sandbox, guild, member)
    if body.get("kicked"):
        _record_audit(sandbox, guild, AuditAction.MEMBER_KICK, member.user_id, reason=body.get("reason"))
    return {"id": member.user_id}


def ban(sandbox: Sandbox, body: Json) -> Json:
    """``{"user", "reason"?, "delete_s"?, "guild"?}``; ``delete_s``: messages younger than this are deleted."""
    guild, user = lookup.guild(sandbox.world, body.get("guild")), lookup.user(sandbox.world, str(body["user"]))
    moderation.ban(sandbox, guild, user.id, body.get("reason"), int(body.get("delete_s") or 0))
    _record_audit(sandbox, guild, AuditAction.MEMBER_BAN_ADD, user.id, reason=body.get("reason"))
    return {"id": user.id}


def unban(sandbox: Sandbox, body: Json) -> Json:
    """``{"user", "guild"?}``."""
    guild, user = lookup.guild(sandbox.world, body.get("guild")), lookup.user(sandbox.world, str(body["user"]))
    moderation.unban(sandbox, guild, user.id)
    _record_audit(sandbox, guild, AuditAction.MEMBER_BAN_REMOVE, user.id)
    return {"id": user.id}


def timeout(sandbox: Sandbox, body: Json) -> Json:
    """``{"member", "seconds", "guild"?}``; 0 seconds end the timeout."""
    guild, member = _member(sandbox, body)
    before, seconds = payloads.partial_member(member), float(body["seconds"])
    end = sandbox.clock.now() + timedelta(seconds=seconds)
    member.timeout_until = discord_time(end) if seconds > 0 else None
    sandbox.emit_member_update(guild, member)
    changes = audit_log.diff(before, payloads.partial_member(member))
    _record_audit(sandbox, guild, AuditAction.MEMBER_UPDATE, member.user_id, changes=changes)
    return {"id": member.user_id, "until": member.timeout_until}


def set_command_permissions(sandbox: Sandbox, body: Json) -> Json:
    """``{"command"?, "roles"?, "members"?, "channels"?, "bot"?, "guild"?}``; the plurals are ``{name: allowed}``.

    Without ``command`` they apply to the application. "everyone" is the role of all users, "all" means all channels.
    """
    world, guild = sandbox.world, lookup.guild(sandbox.world, body.get("guild"))
    app = find_application(sandbox, body.get("bot"))
    overwrites = [
        {"id": key, "type": kind, "permission": bool(on)}
        for kind, targets in (
            (ROLE, {lookup.role(guild, key).id: on for key, on in _names_and_values(body, "roles")}),
            (USER, {lookup.user(sandbox.world, key).id: on for key, on in _names_and_values(body, "members")}),
            (CHANNEL, {_channel_id(guild, key): on for key, on in _names_and_values(body, "channels")}),
        )
        for key, on in targets.items()
    ]
    wanted = body.get("command")
    target = app.id if wanted is None else _command_id(app, guild, str(wanted))
    result = command_permissions.put(sandbox, app, guild, target, overwrites, by=guild.owner_id)
    return {"id": target, "permissions": result["permissions"], "bot": world.users[app.id].name}


def _member(sandbox: Sandbox, body: Json) -> tuple[Guild, Member]:
    guild = lookup.guild(sandbox.world, body.get("guild"))
    return guild, lookup.member(sandbox.world, guild, str(body["member"]))


def _permission_bits(body: Json, name: str) -> int:
    return permission_bits.bits(*(str(permission) for permission in body.get(name) or []))


def _names_and_values(body: Json, name: str) -> list[tuple[str, Any]]:
    return list((body.get(name) or {}).items())


def _channel_id(guild: Guild, name: str) -> str:
    return all_channels_id(guild) if name == "all" else lookup.channel(guild, name).id


def find_application(sandbox: Sandbox, name: str | None) -> Application:
    """The application of the bot ``name``; the first one for None."""
    applications = sandbox.world.applications
    if name is None:
        return next(iter(applications.values()))
    app = applications.get(lookup.user(sandbox.world, name).id)
    if app is None:
        raise UsageError(f"{name} is not a bot.")
    return app


def _command_id(app: Application, guild: Guild, name: str) -> str:
    commands = (*app.commands.get(guild.id, {}).values(), *app.commands.get("", {}).values())
    for command in commands:
        if name.removeprefix("/") == command["name"]:
            return str(command["id"])
    raise UsageError(f"{app.name} has no command “{name}” here.")


def _record_audit(
    sandbox: Sandbox,
    guild: Guild,
    action: AuditAction,
    target_id: str,
    *,
    changes: list[Json] | None = None,
    reason: str | None = None,
) -> None:
    entry_id = sandbox.world.new_id()
    audit_log.record(
        sandbox, guild, GuildAuditEntry(entry_id, guild.owner_id, action, target_id, changes or [], reason)
    )

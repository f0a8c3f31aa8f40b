"""What the owner of a guild does in it while bots look on: roles, overwrites, kicks, bans, timeouts, commands.

Each is one of `world_changes.CHANGES`. ``guild`` is the first one where it is not named.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from botctl.core.errors import UsageError
from botctl.sandbox.actions import audit_log, command_permissions, moderation
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import lookup, payloads, permission_bits
from botctl.sandbox.model.commands.permissions import CHANNEL, ROLE, USER, all_channels
from botctl.sandbox.model.world import Application, Guild, GuildAuditEntry, Member, Overwrite, discord_time
from botctl.sandbox.server import Sandbox

Json = dict[str, Any]


def edit_role(sandbox: Sandbox, said: Json) -> Json:
    """``{"role", "name"?, "permissions"?, "allow": [permissions]?, "deny": [permissions]?, "guild"?}``: what the role
    may is set, or changed by what ``allow`` and ``deny`` name.
    """
    guild = lookup.guild(sandbox.world, said.get("guild"))
    role = lookup.role(guild, str(said["role"]))
    before = payloads.role(role)
    granted = role.permissions if said.get("permissions") is None else int(said["permissions"])
    role.permissions = (granted | _bits(said, "allow")) & ~_bits(said, "deny")
    role.name = str(said.get("name") or role.name)
    moderation.emit_role_update(sandbox, guild, role)
    _record(sandbox, guild, AuditAction.ROLE_UPDATE, role.id, changes=audit_log.diff(before, payloads.role(role)))
    return {"id": role.id, "permissions": str(role.permissions)}


def set_overwrite(sandbox: Sandbox, said: Json) -> Json:
    """``{"channel", "role" or "member", "allow": [permissions]?, "deny": [permissions]?, "guild"?}``: what the channel
    allows and denies them; with neither, nothing any more.
    """
    guild = lookup.guild(sandbox.world, said.get("guild"))
    channel = lookup.channel(guild, str(said["channel"]))
    kind = 0 if said.get("member") is None else 1
    member = lookup.member(sandbox.world, guild, str(said["member"])) if kind else None
    target = member.user_id if member else lookup.role(guild, str(said["role"])).id
    wanted = Overwrite(target, kind, _bits(said, "allow"), _bits(said, "deny"))
    after = {key: one for key, one in channel.overwrites.items() if key != target}
    moderation.set_overwrites(sandbox, channel, after | ({target: wanted} if wanted.allow | wanted.deny else {}))
    return {"id": target}


def remove_member(sandbox: Sandbox, said: Json) -> Json:
    """``{"member", "kicked"?, "reason"?, "guild"?}``: the member leaves, or the owner kicks it."""
    guild, member = _member(sandbox, said)
    moderation.remove_member(sandbox, guild, member)
    if said.get("kicked"):
        _record(sandbox, guild, AuditAction.MEMBER_KICK, member.user_id, reason=said.get("reason"))
    return {"id": member.user_id}


def ban(sandbox: Sandbox, said: Json) -> Json:
    """``{"user", "reason"?, "delete_s"?, "guild"?}``: by the owner."""
    guild, user = lookup.guild(sandbox.world, said.get("guild")), lookup.user(sandbox.world, str(said["user"]))
    moderation.ban(sandbox, guild, user.id, said.get("reason"), int(said.get("delete_s") or 0))
    _record(sandbox, guild, AuditAction.MEMBER_BAN_ADD, user.id, reason=said.get("reason"))
    return {"id": user.id}


def unban(sandbox: Sandbox, said: Json) -> Json:
    """``{"user", "guild"?}``: by the owner."""
    guild, user = lookup.guild(sandbox.world, said.get("guild")), lookup.user(sandbox.world, str(said["user"]))
    moderation.unban(sandbox, guild, user.id)
    _record(sandbox, guild, AuditAction.MEMBER_BAN_REMOVE, user.id)
    return {"id": user.id}


def timeout(sandbox: Sandbox, said: Json) -> Json:
    """``{"member", "seconds", "guild"?}``: by the owner; 0 ends it."""
    guild, member = _member(sandbox, said)
    before, seconds = payloads.partial_member(member), float(said["seconds"])
    end = sandbox.clock.now() + timedelta(seconds=seconds)
    member.timeout_until = discord_time(end) if seconds > 0 else None
    sandbox.emit_member_update(guild, member)
    changes = audit_log.diff(before, payloads.partial_member(member))
    _record(sandbox, guild, AuditAction.MEMBER_UPDATE, member.user_id, changes=changes)
    return {"id": member.user_id, "until": member.timeout_until}


def set_command_permissions(sandbox: Sandbox, said: Json) -> Json:
    """``{"command"?, "roles"?, "members"?, "channels"?: {name: may it?}, "bot"?, "guild"?}``: who may use a command of
    the bot, or all of them, as the owner says in the guild's settings. The role "everyone" and the channel "all" stand
    for all.
    """
    world, guild = sandbox.world, lookup.guild(sandbox.world, said.get("guild"))
    app = find_application(sandbox, said.get("bot"))
    listed = [
        {"id": key, "type": kind, "permission": bool(on)}
        for kind, found in (
            (ROLE, {lookup.role(guild, key).id: on for key, on in _items(said, "roles")}),
            (USER, {lookup.user(sandbox.world, key).id: on for key, on in _items(said, "members")}),
            (CHANNEL, {_channel_id(guild, key): on for key, on in _items(said, "channels")}),
        )
        for key, on in found.items()
    ]
    wanted = said.get("command")
    target = app.id if wanted is None else _command_id(app, guild, str(wanted))
    made = command_permissions.put(sandbox, app, guild, target, listed, by=guild.owner_id)
    return {"id": target, "permissions": made["permissions"], "bot": world.users[app.id].name}


def _member(sandbox: Sandbox, said: Json) -> tuple[Guild, Member]:
    guild = lookup.guild(sandbox.world, said.get("guild"))
    return guild, lookup.member(sandbox.world, guild, str(said["member"]))


def _bits(said: Json, name: str) -> int:
    """The permissions that the list ``name`` names."""
    return permission_bits.bits(*(str(one) for one in said.get(name) or []))


def _items(said: Json, name: str) -> list[tuple[str, Any]]:
    return list((said.get(name) or {}).items())


def _channel_id(guild: Guild, name: str) -> str:
    return all_channels(guild) if name == "all" else lookup.channel(guild, name).id


def find_application(sandbox: Sandbox, name: str | None) -> Application:
    """The one whose bot is called ``name``; the first one for None."""
    applications = sandbox.world.applications
    if name is None:
        return next(iter(applications.values()))
    found = applications.get(lookup.user(sandbox.world, name).id)
    if found is None:
        raise UsageError(f"{name} is no bot.")
    return found


def _command_id(app: Application, guild: Guild, name: str) -> str:
    there = (*app.commands.get(guild.id, {}).values(), *app.commands.get("", {}).values())
    for one in there:
        if name.removeprefix("/") == one["name"]:
            return str(one["id"])
    raise UsageError(f"{app.name} has no command “{name}” here.")


def _record(
    sandbox: Sandbox,
    guild: Guild,
    action: AuditAction,
    target_id: str,
    *,
    changes: list[Json] | None = None,
    reason: str | None = None,
) -> None:
    """Write down what the owner did."""
    entry_id = sandbox.world.new_id()
    audit_log.record(
        sandbox, guild, GuildAuditEntry(entry_id, guild.owner_id, action, target_id, changes or [], reason)
    )

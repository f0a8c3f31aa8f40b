"""Roles and their members (Discord: Guild resource > Role endpoints; Permissions > Permission Hierarchy)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from botctl.sandbox.actions import audit_log, moderation
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import payloads, permission_bits, permissions
from botctl.sandbox.model.api_error import ApiError, FormErrors, missing_permissions, unknown
from botctl.sandbox.model.world import Guild, Member, Role
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]
ROLES = "/guilds/{guild}/roles"
ROLE = "/guilds/{guild}/roles/{role}"
MEMBER_ROLE = "/guilds/{guild}/members/{user}/roles/{role}"
_MAX_ROLES = 250
_MAX_COLOR = 0xFFFFFF
_AUDITED = ("name", "permissions", "color", "hoist", "mentionable", "position")


@route("GET", ROLES)
def list_roles(call: ApiCall) -> list[Json]:
    return [payloads.role(role) for role in access.get_guild(call).roles.values()]


@route("GET", ROLES + "/member-counts")
def count_members(call: ApiCall) -> Json:
    """For every role except @everyone."""
    guild = access.get_guild(call)
    counted = Counter(role for member in guild.members.values() for role in member.roles)
    return {role: counted[role] for role in guild.roles if role != guild.id}


@route("GET", ROLE)
def get_role(call: ApiCall) -> Json:
    return payloads.role(access.get_role(call, access.get_guild(call)))


@route("POST", ROLES)
def create_role(call: ApiCall) -> Json:
    guild = access.get_guild(call, "MANAGE_ROLES")
    if len(guild.roles) >= _MAX_ROLES:
        raise ApiError(400, 30005, f"Maximum number of server roles reached ({_MAX_ROLES})")
    everyone = guild.roles[guild.id]
    fields = {"name": "new role", "permissions": everyone.permissions, **_parse_fields(call)}
    _check_grantable(call, guild, fields["permissions"] & ~everyone.permissions)
    role = Role(call.sandbox.world.new_id(), **fields)
    guild.roles[role.id] = role
    call.sandbox.emit("GUILD_ROLE_CREATE", {"guild_id": guild.id, "role": payloads.role(role)}, guild.id)
    audit.write_entry(call, guild, AuditAction.ROLE_CREATE, role.id, changes=audit_log.diff({}, _audited_fields(role)))
    return payloads.role(role)


@route("PATCH", ROLE)
def edit_role(call: ApiCall) -> Json:
    guild = access.get_guild(call, "MANAGE_ROLES")
    role = access.get_role(call, guild)
    access.require_above(call, guild, role.position)
    fields = _parse_fields(call)
    if role.id == guild.id:
        fields = {key: value for key, value in fields.items() if key == "permissions"}
    _check_grantable(call, guild, fields.get("permissions", role.permissions) ^ role.permissions)
    _edit(call, guild, role, fields)
    return payloads.role(role)


@route("PATCH", ROLES)
def move_roles(call: ApiCall) -> list[Json]:
    guild = access.get_guild(call, "MANAGE_ROLES")
    moves = _parse_moves(call, guild)
    for role, position in moves:
        access.require_above(call, guild, max(role.position, position))
    for role, position in moves:
        _edit(call, guild, role, {"position": position})
    return [payloads.role(role) for role in guild.roles.values()]


@route("DELETE", ROLE)
def delete_role(call: ApiCall) -> None:
    guild = access.get_guild(call, "MANAGE_ROLES")
    role = access.get_role(call, guild)
    _check_assignable(guild, role)
    access.require_above(call, guild, role.position)
    moderation.delete_role(call.sandbox, guild, role)
    audit.write_entry(call, guild, AuditAction.ROLE_DELETE, role.id, changes=audit_log.diff(_audited_fields(role), {}))


@route("PUT", MEMBER_ROLE)
def add_member_role(call: ApiCall) -> None:
    guild = access.get_guild(call, "MANAGE_ROLES")
    member, role = access.get_member(call, guild), _get_assignable(call, guild)
    set_roles(call, guild, member, [*member.roles, role.id])


@route("DELETE", MEMBER_ROLE)
def remove_member_role(call: ApiCall) -> None:
    guild = access.get_guild(call, "MANAGE_ROLES")
    member, role = access.get_member(call, guild), _get_assignable(call, guild)
    set_roles(call, guild, member, [role_id for role_id in member.roles if role_id != role.id])


def set_roles(call: ApiCall, guild: Guild, member: Member, role_ids: list[str]) -> None:
    """Set the member's roles; raises 50013 or 50028 (invalid role) for a role that the bot may not add or remove."""
    added = [guild.roles[role_id] for role_id in dict.fromkeys(role_ids) if role_id not in member.roles]
    removed = [guild.roles[role_id] for role_id in member.roles if role_id not in role_ids]
    for role in (*added, *removed):
        _check_assignable(guild, role)
        access.require_above(call, guild, role.position)
    if not added and not removed:
        return
    member.roles = [role_id for role_id in member.roles if role_id in role_ids] + [role_id.id for role_id in added]
    call.sandbox.emit_member_update(guild, member)
    changes = [
        {"key": key, "new_value": [{"id": role.id, "name": role.name} for role in roles]}
        for key, roles in (("$add", added), ("$remove", removed))
        if roles
    ]
    audit.write_entry(call, guild, AuditAction.MEMBER_ROLE_UPDATE, member.user_id, changes=changes)


def _parse_fields(call: ApiCall) -> Json:
    """The values of the body for the attributes of `Role`."""
    body, errors = call.form, FormErrors()
    fields: Json = {}
    if body.get("name"):
        fields["name"] = errors.text((), body, "name", 1, 100)
    if (granted := errors.snowflake((), body, "permissions")) is not None:  # a string or a number, like ids
        fields["permissions"] = int(granted) & permission_bits.ALL
    if (color := errors.number((), body, "color", 0, _MAX_COLOR)) is not None:
        fields["color"] = color
    if colors := errors.field((), body, "colors", dict):
        fields["color"] = errors.number(("colors",), colors, "primary_color", 0, _MAX_COLOR) or 0
    for name in ("hoist", "mentionable"):
        if (flag := errors.field((), body, name, bool)) is not None:
            fields[name] = flag
    errors.check()
    if body.get("icon") or body.get("unicode_emoji"):
        raise ApiError(403, 50101, "This server needs more boosts to perform this action")
    return fields


def _parse_moves(call: ApiCall, guild: Guild) -> list[tuple[Role, int]]:
    """The roles that the body moves, with their new positions."""
    errors, body = FormErrors(), {"": call.body}
    moves = []
    for index, item in enumerate(errors.objects((), body, "")):
        role = guild.roles.get(errors.snowflake((index,), item, "id") or "")
        position = errors.number((index,), item, "position", 0, _MAX_ROLES)
        if role is None or role.id == guild.id:
            errors.check()
            raise ApiError(400, 50028, "Invalid role")
        if position is not None and position != role.position:
            moves.append((role, max(position, 1)))
    errors.check()
    return moves


def _edit(call: ApiCall, guild: Guild, role: Role, fields: Json) -> None:
    before = _audited_fields(role)
    for name, value in fields.items():
        setattr(role, name, value)
    if changes := audit_log.diff(before, _audited_fields(role)):
        moderation.emit_role_update(call.sandbox, guild, role)
        audit.write_entry(call, guild, AuditAction.ROLE_UPDATE, role.id, changes=changes)


def _check_grantable(call: ApiCall, guild: Guild, bits: int) -> None:
    """Raises 50013 (missing permissions) for a permission that the bot itself does not have."""
    if bits & ~permissions.compute(call.sandbox.world, guild, access.own_member(call, guild)):
        raise missing_permissions()


def _get_assignable(call: ApiCall, guild: Guild) -> Role:
    """The role of the path; raises 10011 (unknown), also for @everyone, which members do not have as a role."""
    role = access.get_role(call, guild)
    if role.id == guild.id:
        raise unknown("Role")
    return role


def _check_assignable(guild: Guild, role: Role) -> None:
    """@everyone and a bot's own role cannot be added, removed or deleted; raises 50028 (invalid role)."""
    if role.id == guild.id or role.bot_id is not None:
        raise ApiError(400, 50028, "Invalid role")


def _audited_fields(role: Role) -> Json:
    payload = payloads.role(role)
    return {key: payload[key] for key in _AUDITED}

"""Roles of a guild, and who has them (Discord: Guild resource > Role endpoints; Permissions > Permission Hierarchy)."""

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
_MOST = 250
_COLOR_MAX = 0xFFFFFF
_LOGGED = ("name", "permissions", "color", "hoist", "mentionable", "position")


@route("GET", ROLES)
def list_roles(call: ApiCall) -> list[Json]:
    return [payloads.role(one) for one in access.guild_of(call).roles.values()]


@route("GET", ROLES + "/member-counts")
def count_members(call: ApiCall) -> Json:
    """Of every role but @everyone."""
    guild = access.guild_of(call)
    counted = Counter(role for member in guild.members.values() for role in member.roles)
    return {role: counted[role] for role in guild.roles if role != guild.id}


@route("GET", ROLE)
def get_role(call: ApiCall) -> Json:
    return payloads.role(access.role_of(call, access.guild_of(call)))


@route("POST", ROLES)
def create_role(call: ApiCall) -> Json:
    guild = access.guild_of(call, "MANAGE_ROLES")
    if len(guild.roles) >= _MOST:
        raise ApiError(400, 30005, f"Maximum number of server roles reached ({_MOST})")
    everyone = guild.roles[guild.id]
    fields = {"name": "new role", "permissions": everyone.permissions, **_fields(call)}
    _may_grant(call, guild, fields["permissions"] & ~everyone.permissions)
    role = Role(call.sandbox.world.new_id(), **fields)
    guild.roles[role.id] = role
    call.sandbox.emit("GUILD_ROLE_CREATE", {"guild_id": guild.id, "role": payloads.role(role)}, guild.id)
    audit.note(call, guild, AuditAction.ROLE_CREATE, role.id, changes=audit_log.diff({}, _logged(role)))
    return payloads.role(role)


@route("PATCH", ROLE)
def edit_role(call: ApiCall) -> Json:
    guild = access.guild_of(call, "MANAGE_ROLES")
    role = access.role_of(call, guild)
    access.above(call, guild, role.position)
    fields = _fields(call)
    if role.id == guild.id:
        fields = {key: value for key, value in fields.items() if key == "permissions"}
    _may_grant(call, guild, fields.get("permissions", role.permissions) ^ role.permissions)
    _edit(call, guild, role, fields)
    return payloads.role(role)


@route("PATCH", ROLES)
def move_roles(call: ApiCall) -> list[Json]:
    guild = access.guild_of(call, "MANAGE_ROLES")
    moved = _moves(call, guild)
    for role, position in moved:
        access.above(call, guild, max(role.position, position))
    for role, position in moved:
        _edit(call, guild, role, {"position": position})
    return [payloads.role(one) for one in guild.roles.values()]


@route("DELETE", ROLE)
def delete_role(call: ApiCall) -> None:
    guild = access.guild_of(call, "MANAGE_ROLES")
    role = access.role_of(call, guild)
    _own(guild, role)
    access.above(call, guild, role.position)
    moderation.delete_role(call.sandbox, guild, role)
    audit.note(call, guild, AuditAction.ROLE_DELETE, role.id, changes=audit_log.diff(_logged(role), {}))


@route("PUT", MEMBER_ROLE)
def give_role(call: ApiCall) -> None:
    guild = access.guild_of(call, "MANAGE_ROLES")
    member, role = access.member_of(call, guild), _wearable(call, guild)
    set_roles(call, guild, member, [*member.roles, role.id])


@route("DELETE", MEMBER_ROLE)
def take_role(call: ApiCall) -> None:
    guild = access.guild_of(call, "MANAGE_ROLES")
    member, role = access.member_of(call, guild), _wearable(call, guild)
    set_roles(call, guild, member, [one for one in member.roles if one != role.id])


def set_roles(call: ApiCall, guild: Guild, member: Member, wanted: list[str]) -> None:
    """Give ``member`` exactly these roles; raises 50013 and 50028 for one that the bot may not give or take."""
    added = [guild.roles[one] for one in dict.fromkeys(wanted) if one not in member.roles]
    removed = [guild.roles[one] for one in member.roles if one not in wanted]
    for role in (*added, *removed):
        _own(guild, role)
        access.above(call, guild, role.position)
    if not added and not removed:
        return
    member.roles = [one for one in member.roles if one in wanted] + [one.id for one in added]
    call.sandbox.emit_member_update(guild, member)
    changes = [
        {"key": key, "new_value": [{"id": one.id, "name": one.name} for one in roles]}
        for key, roles in (("$add", added), ("$remove", removed))
        if roles
    ]
    audit.note(call, guild, AuditAction.MEMBER_ROLE_UPDATE, member.user_id, changes=changes)


def _fields(call: ApiCall) -> Json:
    """What the body sets of a role."""
    body, errors = call.form, FormErrors()
    found: Json = {}
    if body.get("name"):
        found["name"] = errors.text((), body, "name", 1, 100)
    if (granted := errors.snowflake((), body, "permissions")) is not None:  # as text or as a number, as ids are
        found["permissions"] = int(granted) & permission_bits.ALL
    if (color := errors.number((), body, "color", 0, _COLOR_MAX)) is not None:
        found["color"] = color
    if colors := errors.field((), body, "colors", dict):
        found["color"] = errors.number(("colors",), colors, "primary_color", 0, _COLOR_MAX) or 0
    for name in ("hoist", "mentionable"):
        if (flag := errors.field((), body, name, bool)) is not None:
            found[name] = flag
    errors.check()
    if body.get("icon") or body.get("unicode_emoji"):
        raise ApiError(403, 50101, "This server needs more boosts to perform this action")
    return found


def _moves(call: ApiCall, guild: Guild) -> list[tuple[Role, int]]:
    """The roles that the body moves, and where to."""
    errors, body = FormErrors(), {"": call.body}
    moved = []
    for index, one in enumerate(errors.objects((), body, "")):
        role = guild.roles.get(errors.snowflake((index,), one, "id") or "")
        position = errors.number((index,), one, "position", 0, _MOST)
        if role is None or role.id == guild.id:
            errors.check()
            raise ApiError(400, 50028, "Invalid role")
        if position is not None and position != role.position:
            moved.append((role, max(position, 1)))
    errors.check()
    return moved


def _edit(call: ApiCall, guild: Guild, role: Role, fields: Json) -> None:
    before = _logged(role)
    for name, value in fields.items():
        setattr(role, name, value)
    if changes := audit_log.diff(before, _logged(role)):
        moderation.emit_role_update(call.sandbox, guild, role)
        audit.note(call, guild, AuditAction.ROLE_UPDATE, role.id, changes=changes)


def _may_grant(call: ApiCall, guild: Guild, wanted: int) -> None:
    """Nobody gives or takes a permission that they do not have."""
    if wanted & ~permissions.compute(call.sandbox.world, guild, access.me(call, guild)):
        raise missing_permissions()


def _wearable(call: ApiCall, guild: Guild) -> Role:
    """The role of the path; raises 10011, also for @everyone: as a role of somebody's, there is no such."""
    role = access.role_of(call, guild)
    if role.id == guild.id:
        raise unknown("Role")
    return role


def _own(guild: Guild, role: Role) -> None:
    """@everyone and the role of a bot are neither given, taken nor deleted."""
    if role.id == guild.id or role.bot_id is not None:
        raise ApiError(400, 50028, "Invalid role")


def _logged(role: Role) -> Json:
    shown = payloads.role(role)
    return {key: shown[key] for key in _LOGGED}

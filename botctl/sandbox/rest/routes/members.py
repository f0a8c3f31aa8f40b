"""Members of a guild: lists, nicknames, timeouts, kicks and prunes (Discord: Guild resource)."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.actions import audit_log, moderation
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import payloads, permission_bits, permissions
from botctl.sandbox.model.api_error import ApiError, FormErrors, missing_permissions
from botctl.sandbox.model.gateway.opcodes import GUILD_MEMBERS
from botctl.sandbox.model.world import Guild, Member
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.routes.roles import set_roles
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]
MEMBERS = "/guilds/{guild}/members"
MEMBER = MEMBERS + "/{user}"
PRUNE = "/guilds/{guild}/prune"
_REQUIRED_PERMISSIONS = {
    "nick": "MANAGE_NICKNAMES",
    "mute": "MUTE_MEMBERS",
    "deaf": "DEAFEN_MEMBERS",
    "channel_id": "MOVE_MEMBERS",
}
_REQUIRED_PERMISSIONS |= {"roles": "MANAGE_ROLES", "communication_disabled_until": "MODERATE_MEMBERS"}
_VOICE_FIELDS = ("mute", "deaf", "channel_id")
_PRUNE_DAYS = 7


@route("GET", MEMBERS)
def list_members(call: ApiCall) -> list[Json]:
    guild = access.get_guild(call)
    access.require_intent(call, GUILD_MEMBERS)
    limit, errors = call.limit(1, 1000), FormErrors()
    after = int(errors.snowflake((), dict(call.query), "after") or 0)
    errors.check()
    user_ids = sorted(int(user_id) for user_id in guild.members if int(user_id) > after)
    return [payloads.member(guild.members[str(user_id)], call.sandbox.world) for user_id in user_ids[:limit]]


@route("GET", MEMBERS + "/search")
def search_members(call: ApiCall) -> list[Json]:
    """Members whose name or nickname begins with ``query``."""
    guild, world, errors = access.get_guild(call), call.sandbox.world, FormErrors()
    prefix = errors.text((), dict(call.query), "query", 1, 100).casefold()
    errors.check()
    matching = [
        member
        for member in guild.members.values()
        if any(name.casefold().startswith(prefix) for name in (world.users[member.user_id].name, member.nick or ""))
    ]
    return [payloads.member(member, world) for member in matching[: call.limit(1, 1000)]]


@route("GET", MEMBER)
def get_member(call: ApiCall) -> Json:
    return payloads.member(access.get_member(call, access.get_guild(call)), call.sandbox.world)


@route("PATCH", MEMBERS + "/@me")
def edit_me(call: ApiCall) -> Json:
    """Changes the bot's own nickname."""
    guild = access.get_guild(call)
    member, errors = access.own_member(call, guild), FormErrors()
    nick = errors.text((), call.form, "nick", 0, 32)
    errors.check()
    if "nick" in call.form:
        access.require_permissions(call, guild, "CHANGE_NICKNAME")
        _edit(call, guild, member, {"nick": nick or None})
    return payloads.member(member, call.sandbox.world)


@route("PATCH", MEMBER)
def edit_member(call: ApiCall) -> Json:
    guild = access.get_guild(call)
    member, body = access.get_member(call, guild), call.form
    access.require_permissions(call, guild, *(name for key, name in _REQUIRED_PERMISSIONS.items() if key in body))
    fields, roles = _parse_fields(call, guild, body)
    if fields or any(name in body for name in _VOICE_FIELDS):
        access.require_outranks(call, guild, member)
    if (
        fields.get("timeout_until")
        and permissions.compute(call.sandbox.world, guild, member) & permission_bits.ADMINISTRATOR
    ):
        raise missing_permissions()
    if any(body.get(name) is not None for name in _VOICE_FIELDS):
        raise ApiError(400, 40032, "Target user is not connected to voice.")
    if roles is not None:
        set_roles(call, guild, member, roles)
    _edit(call, guild, member, fields)
    return payloads.member(member, call.sandbox.world)


@route("DELETE", MEMBER)
def kick(call: ApiCall) -> None:
    guild = access.get_guild(call, "KICK_MEMBERS")
    member = access.get_member(call, guild)
    access.require_outranks(call, guild, member)
    moderation.remove_member(call.sandbox, guild, member)
    audit.write_entry(call, guild, AuditAction.MEMBER_KICK, member.user_id)


@route("GET", PRUNE)
def count_prune(call: ApiCall) -> Json:
    guild = access.get_guild(call, "MANAGE_GUILD", "KICK_MEMBERS")
    errors, query = FormErrors(), dict(call.query)
    days = errors.snowflake((), query, "days")
    errors.check()
    roles = [role_id for role_id in query.get("include_roles", "").split(",") if role_id]
    options = {"days": days and int(days), "include_roles": roles}
    return {"pruned": len(_prune_candidates(call, guild, options)[0])}


@route("POST", PRUNE)
def prune(call: ApiCall) -> Json:
    guild = access.get_guild(call, "MANAGE_GUILD", "KICK_MEMBERS")
    body = call.form if call.body is not None else {}
    removed, days = _prune_candidates(call, guild, body)
    for member in removed:
        moderation.remove_member(call.sandbox, guild, member)
    options = {"delete_member_days": str(days), "members_removed": str(len(removed))}
    audit.write_entry(call, guild, AuditAction.MEMBER_PRUNE, None, options=options)
    return {"pruned": len(removed) if body.get("compute_prune_count", True) else None}


def _prune_candidates(call: ApiCall, guild: Guild, options: Json) -> tuple[list[Member], int]:
    """The members who would be removed, and the days without activity that ``options`` ask for."""
    errors = FormErrors()
    days = errors.number((), options, "days", 1, 30) or _PRUNE_DAYS
    roles = errors.snowflakes((), options, "include_roles", 100)
    errors.check()
    return moderation.inactive_members(call.sandbox.world, guild, days, roles), days


def _parse_fields(call: ApiCall, guild: Guild, body: Json) -> tuple[Json, list[str] | None]:
    """The values of ``body`` for the attributes of `Member`, and the ids of its roles if it sets them."""
    errors = FormErrors()
    fields: Json = {}
    if "nick" in body:
        fields["nick"] = errors.text((), body, "nick", 0, 32) or None
    if "communication_disabled_until" in body:
        timestamp = errors.field((), body, "communication_disabled_until", str)
        fields["timeout_until"] = end = (
            moderation.parse_timeout_end(timestamp, call.sandbox.clock.now()) if timestamp else None
        )
        if timestamp and end is None:
            error = ("INVALID_COMMUNICATION_DISABLED_TIMESTAMP", "Invalid communication disabled timestamp")
            errors.add(("communication_disabled_until",), *error)
    roles = errors.snowflakes((), body, "roles", 250) if body.get("roles") is not None else None
    for index, role_id in enumerate(roles or []):
        if role_id not in guild.roles:
            errors.add(("roles", index), "GUILD_ROLE_INVALID", "Invalid role")
    for name in ("mute", "deaf"):
        errors.field((), body, name, bool)
    errors.snowflake((), body, "channel_id")
    errors.check()
    return fields, roles


def _edit(call: ApiCall, guild: Guild, member: Member, fields: Json) -> None:
    before = _audited_fields(member)
    for name, value in fields.items():
        setattr(member, name, value)
    if changes := audit_log.diff(before, _audited_fields(member)):
        call.sandbox.emit_member_update(guild, member)
        audit.write_entry(call, guild, AuditAction.MEMBER_UPDATE, member.user_id, changes=changes)


def _audited_fields(member: Member) -> Json:
    """Discord leaves out empty fields."""
    fields = {"nick": member.nick, "communication_disabled_until": member.timeout_until}
    return {key: value for key, value in fields.items() if value is not None}

"""Bans (Discord: Guild resource > Ban endpoints)."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.actions import moderation
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import payloads, permissions
from botctl.sandbox.model.api_error import ApiError, FormErrors, missing_permissions, unknown
from botctl.sandbox.model.world import Guild
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]
BANS = "/guilds/{guild}/bans"
BAN = BANS + "/{user}"
_MAX_DELETE_S = 604_800  # a ban can delete the messages of at most the last 7 days
_DAY_S = 86_400
_MAX_BULK = 200


@route("GET", BANS)
def list_bans(call: ApiCall) -> list[Json]:
    """Sorted by user id. ``after`` and ``before`` are user ids."""
    guild = access.get_guild(call, "BAN_MEMBERS")
    user_ids, errors = sorted(guild.bans, key=int), FormErrors()
    query, limit = dict(call.query), call.limit(1000, 1000)
    before, after = errors.snowflake((), query, "before"), errors.snowflake((), query, "after")
    errors.check()
    if before:
        user_ids = [user_id for user_id in user_ids if int(user_id) < int(before)][-limit:]
    elif after:
        user_ids = [user_id for user_id in user_ids if int(user_id) > int(after)]
    return [_ban_payload(call, guild, user_id) for user_id in user_ids[:limit]]


@route("GET", BAN)
def get_ban(call: ApiCall) -> Json:
    guild = access.get_guild(call, "BAN_MEMBERS")
    if call.path["user"] not in guild.bans:
        raise unknown("Ban")
    return _ban_payload(call, guild, call.path["user"])


@route("PUT", BAN)
def ban(call: ApiCall) -> None:
    """The user need not be a member. A second ban of the same user changes nothing and emits no event."""
    guild, user_id = access.get_guild(call, "BAN_MEMBERS"), call.path["user"]
    delete_s = _parse_delete_s(call.form if call.body is not None else {})
    if user_id not in call.sandbox.world.users:
        raise unknown("User")
    if not _can_ban(call, guild, user_id):
        raise missing_permissions()
    if user_id not in guild.bans:
        _apply_ban(call, guild, user_id, delete_s)


@route("POST", "/guilds/{guild}/bulk-ban")
def bulk_ban(call: ApiCall) -> Json:
    """The bot's own id is ignored: it is in neither list of the response."""
    guild, errors = access.get_guild(call, "BAN_MEMBERS", "MANAGE_GUILD"), FormErrors()
    user_ids = errors.snowflakes((), call.form, "user_ids", _MAX_BULK)
    if not user_ids:
        errors.add(("user_ids",), "BASE_TYPE_REQUIRED", "This field is required")
    errors.check()
    user_ids = [user_id for user_id in user_ids if user_id != call.app.id]
    delete_s = _parse_delete_s(call.form)
    users = call.sandbox.world.users
    banned = [
        user_id
        for user_id in user_ids
        if user_id in users and user_id not in guild.bans and _can_ban(call, guild, user_id)
    ]
    if user_ids and not banned:
        raise ApiError(400, 500000, "Failed to ban users")
    for user_id in banned:
        _apply_ban(call, guild, user_id, delete_s)
    return {"banned_users": banned, "failed_users": [user_id for user_id in user_ids if user_id not in banned]}


@route("DELETE", BAN)
def unban(call: ApiCall) -> None:
    guild, user_id = access.get_guild(call, "BAN_MEMBERS"), call.path["user"]
    if user_id not in guild.bans:
        raise unknown("Ban")
    moderation.unban(call.sandbox, guild, user_id)
    audit.write_entry(call, guild, AuditAction.MEMBER_BAN_REMOVE, user_id)


def _ban_payload(call: ApiCall, guild: Guild, user_id: str) -> Json:
    return {"user": payloads.user(call.sandbox.world.users[user_id]), "reason": guild.bans[user_id]}


def _parse_delete_s(body: Json) -> int:
    errors = FormErrors()
    days = errors.number((), body, "delete_message_days", 0, 7) or 0
    seconds = errors.number((), body, "delete_message_seconds", 0, _MAX_DELETE_S)
    errors.check()
    return days * _DAY_S if seconds is None else seconds


def _can_ban(call: ApiCall, guild: Guild, user_id: str) -> bool:
    member = guild.members.get(user_id)
    return member is None or permissions.outranks(guild, access.own_member(call, guild), member)


def _apply_ban(call: ApiCall, guild: Guild, user_id: str, delete_s: int) -> None:
    moderation.ban(call.sandbox, guild, user_id, call.reason, delete_s)
    audit.write_entry(call, guild, AuditAction.MEMBER_BAN_ADD, user_id)

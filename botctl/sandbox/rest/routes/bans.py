"""Bans of a guild (Discord: Guild resource > Ban endpoints)."""

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
_DELETE_MOST_S = 604_800
_DAY_S = 86_400
_BULK_MOST = 200


@route("GET", BANS)
def list_bans(call: ApiCall) -> list[Json]:
    """By user id, ``after`` one or ``before`` it."""
    guild = access.guild_of(call, "BAN_MEMBERS")
    found, errors = sorted(guild.bans, key=int), FormErrors()
    query, limit = dict(call.query), call.limit(1000, 1000)
    before, after = errors.snowflake((), query, "before"), errors.snowflake((), query, "after")
    errors.check()
    if before:
        found = [one for one in found if int(one) < int(before)][-limit:]
    elif after:
        found = [one for one in found if int(one) > int(after)]
    return [_ban(call, guild, one) for one in found[:limit]]


@route("GET", BAN)
def get_ban(call: ApiCall) -> Json:
    guild = access.guild_of(call, "BAN_MEMBERS")
    if call.path["user"] not in guild.bans:
        raise unknown("Ban")
    return _ban(call, guild, call.path["user"])


@route("PUT", BAN)
def ban(call: ApiCall) -> None:
    """Also of somebody who is not a member. Who is banned already stays so, and nobody hears of it."""
    guild, user_id = access.guild_of(call, "BAN_MEMBERS"), call.path["user"]
    delete_s = _delete_s(call.form if call.body is not None else {})
    if user_id not in call.sandbox.world.users:
        raise unknown("User")
    if not _may_ban(call, guild, user_id):
        raise missing_permissions()
    if user_id not in guild.bans:
        _ban_now(call, guild, user_id, delete_s)


@route("POST", "/guilds/{guild}/bulk-ban")
def bulk_ban(call: ApiCall) -> Json:
    """Of the bot itself, where it is named, nothing is said."""
    guild, errors = access.guild_of(call, "BAN_MEMBERS", "MANAGE_GUILD"), FormErrors()
    wanted = errors.snowflakes((), call.form, "user_ids", _BULK_MOST)
    if not wanted:
        errors.add(("user_ids",), "BASE_TYPE_REQUIRED", "This field is required")
    errors.check()
    wanted = [one for one in wanted if one != call.app.id]
    delete_s = _delete_s(call.form)
    known = call.sandbox.world.users
    banned = [one for one in wanted if one in known and one not in guild.bans and _may_ban(call, guild, one)]
    if wanted and not banned:
        raise ApiError(400, 500000, "Failed to ban users")
    for one in banned:
        _ban_now(call, guild, one, delete_s)
    return {"banned_users": banned, "failed_users": [one for one in wanted if one not in banned]}


@route("DELETE", BAN)
def unban(call: ApiCall) -> None:
    guild, user_id = access.guild_of(call, "BAN_MEMBERS"), call.path["user"]
    if user_id not in guild.bans:
        raise unknown("Ban")
    moderation.unban(call.sandbox, guild, user_id)
    audit.note(call, guild, AuditAction.MEMBER_BAN_REMOVE, user_id)


def _ban(call: ApiCall, guild: Guild, user_id: str) -> Json:
    return {"user": payloads.user(call.sandbox.world.users[user_id]), "reason": guild.bans[user_id]}


def _delete_s(body: Json) -> int:
    errors = FormErrors()
    days = errors.number((), body, "delete_message_days", 0, 7) or 0
    seconds = errors.number((), body, "delete_message_seconds", 0, _DELETE_MOST_S)
    errors.check()
    return days * _DAY_S if seconds is None else seconds


def _may_ban(call: ApiCall, guild: Guild, user_id: str) -> bool:
    member = guild.members.get(user_id)
    return member is None or permissions.outranks(guild, access.me(call, guild), member)


def _ban_now(call: ApiCall, guild: Guild, user_id: str, delete_s: int) -> None:
    moderation.ban(call.sandbox, guild, user_id, call.reason, delete_s)
    audit.note(call, guild, AuditAction.MEMBER_BAN_ADD, user_id)

"""Invites: made for a channel, valid for some time and number of uses (Discord: Invite resource)."""

from __future__ import annotations

import secrets
import string
from datetime import datetime, timedelta
from typing import Any

from botctl.sandbox.actions import audit_log
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import payloads, permission_bits, permissions
from botctl.sandbox.model.api_error import (
    ApiError,
    FormErrors,
    missing_access,
    missing_permissions,
    unknown,
    wrong_channel,
)
from botctl.sandbox.model.channels.types import CATEGORY
from botctl.sandbox.model.world import Channel, Guild, Invite, World, discord_time
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]
_ALPHABET = string.ascii_letters + string.digits
_CODE_LENGTH = 8
_AGE_MOST_S = 604_800
_USES_MOST = 100
_MOST = 1000  # of a guild
_OF_GUILD = (
    *("id", "name", "splash", "banner", "description", "icon", "features", "verification_level"),
    *("vanity_url_code", "nsfw_level", "nsfw", "premium_subscription_count"),
)
_LOGGED = ("code", "channel_id", "inviter_id", "uses", "max_uses", "max_age", "temporary")


@route("POST", "/channels/{channel}/invites")
def create_invite(call: ApiCall) -> Json:
    """One that is like another of this bot is that other, unless it is to be ``unique``."""
    channel, guild = _place(call, "CREATE_INSTANT_INVITE")
    wanted, unique = _fields(call.form if call.body is not None else {})
    there = _valid(call.sandbox.world, guild_id=guild.id)
    like = [one for one in there if one.channel_id == channel.id and one.inviter_id == call.app.id]
    for one in like:
        if not unique and wanted == {"max_age_s": one.max_age_s, "max_uses": one.max_uses, "temporary": one.temporary}:
            return _shown(call, one, meta=True)
    if len(there) >= _MOST:
        raise ApiError(400, 30016, f"Maximum number of invites reached ({_MOST})")
    code = "".join(secrets.choice(_ALPHABET) for _ in range(_CODE_LENGTH))
    made = Invite(code, guild.id, channel.id, call.app.id, call.sandbox.world.timestamp(), **wanted)
    call.sandbox.world.invites[code] = made
    call.sandbox.emit(
        "INVITE_CREATE",
        _event(call, made),
        guild.id,
        channel=channel,
        required_permissions=permission_bits.bits("MANAGE_CHANNELS"),
    )
    audit.note(call, guild, AuditAction.INVITE_CREATE, None, changes=audit_log.diff({}, _logged(made)))
    return _shown(call, made, meta=True)


@route("GET", "/channels/{channel}/invites")
def channel_invites(call: ApiCall) -> list[Json]:
    channel, guild = _place(call, "MANAGE_CHANNELS")
    there = _valid(call.sandbox.world, guild_id=guild.id)
    return [_shown(call, one, meta=True) for one in there if one.channel_id == channel.id]


@route("GET", "/guilds/{guild}/invites")
def guild_invites(call: ApiCall) -> list[Json]:
    guild = access.guild_of(call)
    may = permissions.compute(call.sandbox.world, guild, access.me(call, guild))
    if not may & permission_bits.bits("MANAGE_GUILD", "VIEW_AUDIT_LOG"):
        raise missing_permissions()
    meta = bool(may & permission_bits.bits("MANAGE_GUILD"))
    return [_shown(call, one, meta=meta) for one in _valid(call.sandbox.world, guild_id=guild.id)]


@route("GET", "/invites/{code}", token=False)
def get_invite(call: ApiCall) -> Json:
    invite = _invite(call)
    shown = _shown(call, invite)
    if not call.flag("with_counts"):
        return shown
    count = len(call.sandbox.world.guilds[invite.guild_id].members)
    return shown | {"approximate_member_count": count, "approximate_presence_count": 0}


@route("DELETE", "/invites/{code}")
def delete_invite(call: ApiCall) -> Json:
    invite, sandbox = _invite(call), call.sandbox
    guild, channel = sandbox.world.guilds[invite.guild_id], sandbox.world.channels[invite.channel_id]
    if call.app.id not in guild.members:
        raise missing_access()
    if not access.may_in(call, channel) & permission_bits.bits("MANAGE_CHANNELS"):
        access.need(call, guild, "MANAGE_GUILD")
    shown = _shown(call, invite)
    del sandbox.world.invites[invite.code]
    gone = {"channel_id": channel.id, "guild_id": guild.id, "code": invite.code}
    sandbox.emit(
        "INVITE_DELETE", gone, guild.id, channel=channel, required_permissions=permission_bits.bits("MANAGE_CHANNELS")
    )
    audit.note(call, guild, AuditAction.INVITE_DELETE, None, changes=audit_log.diff(_logged(invite), {}))
    return shown


def _place(call: ApiCall, name: str) -> tuple[Channel, Guild]:
    """The channel of the path, to which people can be invited."""
    channel = access.channel_of(call, name)
    if not channel.guild_id or channel.thread is not None or channel.type == CATEGORY:
        raise wrong_channel()
    return channel, call.sandbox.world.guilds[channel.guild_id]


def _fields(body: Json) -> tuple[Json, bool]:
    """What ``body`` sets of an `Invite`, and whether it must be a new one."""
    errors = FormErrors()
    age_s = errors.number((), body, "max_age", 0, _AGE_MOST_S)
    fields = {
        "max_age_s": 86_400 if age_s is None else age_s,
        "max_uses": errors.number((), body, "max_uses", 0, _USES_MOST) or 0,
        "temporary": errors.field((), body, "temporary", bool) or False,
    }
    unique = errors.field((), body, "unique", bool) or False
    errors.check()
    return fields, unique


def _invite(call: ApiCall) -> Invite:
    invite = call.sandbox.world.invites.get(call.path["code"])
    if invite is None or invite not in _valid(call.sandbox.world, guild_id=invite.guild_id):
        raise unknown("Invite")
    return invite


def _valid(world: World, *, guild_id: str) -> list[Invite]:
    """The invites of a guild that can still be used; the others are forgotten."""
    now = world.timestamp()
    for one in list(world.invites.values()):
        expires_at = _expires_at(one)
        if (expires_at and expires_at <= now) or (one.max_uses and one.uses >= one.max_uses):
            del world.invites[one.code]
    return [one for one in world.invites.values() if one.guild_id == guild_id]


def _expires_at(invite: Invite) -> str | None:
    if not invite.max_age_s:
        return None
    return discord_time(datetime.fromisoformat(invite.created_at) + timedelta(seconds=invite.max_age_s))


def _shown(call: ApiCall, invite: Invite, *, meta: bool = False) -> Json:
    """``meta``: with how often it was used, for those who manage invites."""
    world = call.sandbox.world
    guild, channel = payloads.guild(world.guilds[invite.guild_id], world), world.channels[invite.channel_id]
    shown: Json = {
        "type": 0,
        "code": invite.code,
        "inviter": payloads.user(world.users[invite.inviter_id]),
        "expires_at": _expires_at(invite),
        "guild": {key: guild[key] for key in _OF_GUILD},
        "guild_id": invite.guild_id,
        "channel": {"id": channel.id, "type": channel.type, "name": channel.name},
        "flags": 0,
    }
    return shown | _usage(invite) if meta else shown


def _usage(invite: Invite) -> Json:
    return {
        "uses": invite.uses,
        "max_uses": invite.max_uses,
        "max_age": invite.max_age_s,
        "temporary": invite.temporary,
        "created_at": invite.created_at,
    }


def _event(call: ApiCall, invite: Invite) -> Json:
    shown = _shown(call, invite)
    known = {key: shown[key] for key in ("type", "code", "inviter", "expires_at", "guild_id")}
    return known | _usage(invite) | {"channel_id": invite.channel_id}


def _logged(invite: Invite) -> Json:
    values = {**_usage(invite), "code": invite.code, "channel_id": invite.channel_id, "inviter_id": invite.inviter_id}
    return {key: values[key] for key in _LOGGED}

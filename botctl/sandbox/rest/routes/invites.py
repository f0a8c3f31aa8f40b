"""Invites (Discord: Invite resource)."""

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
    wrong_channel_type,
)
from botctl.sandbox.model.channels.types import CATEGORY
from botctl.sandbox.model.world import Channel, Guild, Invite, World, discord_time
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]
_ALPHABET = string.ascii_letters + string.digits
_CODE_LENGTH = 8
_MAX_AGE_S = 604_800
_MAX_USES = 100
_MAX_INVITES = 1000  # in a guild
_GUILD_FIELDS = (
    *("id", "name", "splash", "banner", "description", "icon", "features", "verification_level"),
    *("vanity_url_code", "nsfw_level", "nsfw", "premium_subscription_count"),
)
_AUDITED = ("code", "channel_id", "inviter_id", "uses", "max_uses", "max_age", "temporary")


@route("POST", "/channels/{channel}/invites")
def create_invite(call: ApiCall) -> Json:
    """Returns the bot's existing invite with the same settings, unless ``unique`` is set."""
    channel, guild = _get_invitable(call, "CREATE_INSTANT_INVITE")
    fields, unique = _parse_fields(call.form if call.body is not None else {})
    invites = _valid_invites(call.sandbox.world, guild_id=guild.id)
    similar = [invite for invite in invites if invite.channel_id == channel.id and invite.inviter_id == call.app.id]
    for invite in similar:
        if not unique and fields == {
            "max_age_s": invite.max_age_s,
            "max_uses": invite.max_uses,
            "temporary": invite.temporary,
        }:
            return _invite_payload(call, invite, meta=True)
    if len(invites) >= _MAX_INVITES:
        raise ApiError(400, 30016, f"Maximum number of invites reached ({_MAX_INVITES})")
    code = "".join(secrets.choice(_ALPHABET) for _ in range(_CODE_LENGTH))
    invite = Invite(code, guild.id, channel.id, call.app.id, call.sandbox.world.timestamp(), **fields)
    call.sandbox.world.invites[code] = invite
    call.sandbox.emit(
        "INVITE_CREATE",
        _event_payload(call, invite),
        guild.id,
        channel=channel,
        required_permissions=permission_bits.bits("MANAGE_CHANNELS"),
    )
    audit.write_entry(call, guild, AuditAction.INVITE_CREATE, None, changes=audit_log.diff({}, _audited_fields(invite)))
    return _invite_payload(call, invite, meta=True)


@route("GET", "/channels/{channel}/invites")
def channel_invites(call: ApiCall) -> list[Json]:
    channel, guild = _get_invitable(call, "MANAGE_CHANNELS")
    invites = _valid_invites(call.sandbox.world, guild_id=guild.id)
    return [_invite_payload(call, invite, meta=True) for invite in invites if invite.channel_id == channel.id]


@route("GET", "/guilds/{guild}/invites")
def guild_invites(call: ApiCall) -> list[Json]:
    guild = access.get_guild(call)
    granted = permissions.compute(call.sandbox.world, guild, access.own_member(call, guild))
    if not granted & permission_bits.bits("MANAGE_GUILD", "VIEW_AUDIT_LOG"):
        raise missing_permissions()
    meta = bool(granted & permission_bits.bits("MANAGE_GUILD"))
    return [
        _invite_payload(call, invite, meta=meta) for invite in _valid_invites(call.sandbox.world, guild_id=guild.id)
    ]


@route("GET", "/invites/{code}", token=False)
def get_invite(call: ApiCall) -> Json:
    invite = _get_invite(call)
    payload = _invite_payload(call, invite)
    if not call.flag("with_counts"):
        return payload
    count = len(call.sandbox.world.guilds[invite.guild_id].members)
    return payload | {"approximate_member_count": count, "approximate_presence_count": 0}


@route("DELETE", "/invites/{code}")
def delete_invite(call: ApiCall) -> Json:
    invite, sandbox = _get_invite(call), call.sandbox
    guild, channel = sandbox.world.guilds[invite.guild_id], sandbox.world.channels[invite.channel_id]
    if call.app.id not in guild.members:
        raise missing_access()
    if not access.permissions_in(call, channel) & permission_bits.bits("MANAGE_CHANNELS"):
        access.require_permissions(call, guild, "MANAGE_GUILD")
    payload = _invite_payload(call, invite)
    del sandbox.world.invites[invite.code]
    deleted = {"channel_id": channel.id, "guild_id": guild.id, "code": invite.code}
    sandbox.emit(
        "INVITE_DELETE",
        deleted,
        guild.id,
        channel=channel,
        required_permissions=permission_bits.bits("MANAGE_CHANNELS"),
    )
    audit.write_entry(call, guild, AuditAction.INVITE_DELETE, None, changes=audit_log.diff(_audited_fields(invite), {}))
    return payload


def _get_invitable(call: ApiCall, name: str) -> tuple[Channel, Guild]:
    """The channel of the path, in which the bot has the permission ``name``; raises 50024 when it has no invites."""
    channel = access.get_channel(call, name)
    if not channel.guild_id or channel.thread is not None or channel.type == CATEGORY:
        raise wrong_channel_type()
    return channel, call.sandbox.world.guilds[channel.guild_id]


def _parse_fields(body: Json) -> tuple[Json, bool]:
    """The values of ``body`` for the attributes of `Invite`, and its ``unique``."""
    errors = FormErrors()
    age_s = errors.number((), body, "max_age", 0, _MAX_AGE_S)
    fields = {
        "max_age_s": 86_400 if age_s is None else age_s,
        "max_uses": errors.number((), body, "max_uses", 0, _MAX_USES) or 0,
        "temporary": errors.field((), body, "temporary", bool) or False,
    }
    unique = errors.field((), body, "unique", bool) or False
    errors.check()
    return fields, unique


def _get_invite(call: ApiCall) -> Invite:
    invite = call.sandbox.world.invites.get(call.path["code"])
    if invite is None or invite not in _valid_invites(call.sandbox.world, guild_id=invite.guild_id):
        raise unknown("Invite")
    return invite


def _valid_invites(world: World, *, guild_id: str) -> list[Invite]:
    """The guild's usable invites; deletes the others."""
    now = world.timestamp()
    for invite in list(world.invites.values()):
        expires_at = _expires_at(invite)
        if (expires_at and expires_at <= now) or (invite.max_uses and invite.uses >= invite.max_uses):
            del world.invites[invite.code]
    return [invite for invite in world.invites.values() if invite.guild_id == guild_id]


def _expires_at(invite: Invite) -> str | None:
    if not invite.max_age_s:
        return None
    return discord_time(datetime.fromisoformat(invite.created_at) + timedelta(seconds=invite.max_age_s))


def _invite_payload(call: ApiCall, invite: Invite, *, meta: bool = False) -> Json:
    """``meta`` adds uses, limits and age (Discord: Invite Metadata), for bots that manage invites."""
    world = call.sandbox.world
    guild, channel = payloads.guild(world.guilds[invite.guild_id], world), world.channels[invite.channel_id]
    payload: Json = {
        "type": 0,
        "code": invite.code,
        "inviter": payloads.user(world.users[invite.inviter_id]),
        "expires_at": _expires_at(invite),
        "guild": {key: guild[key] for key in _GUILD_FIELDS},
        "guild_id": invite.guild_id,
        "channel": {"id": channel.id, "type": channel.type, "name": channel.name},
        "flags": 0,
    }
    return payload | _usage_fields(invite) if meta else payload


def _usage_fields(invite: Invite) -> Json:
    return {
        "uses": invite.uses,
        "max_uses": invite.max_uses,
        "max_age": invite.max_age_s,
        "temporary": invite.temporary,
        "created_at": invite.created_at,
    }


def _event_payload(call: ApiCall, invite: Invite) -> Json:
    payload = _invite_payload(call, invite)
    fields = {key: payload[key] for key in ("type", "code", "inviter", "expires_at", "guild_id")}
    return fields | _usage_fields(invite) | {"channel_id": invite.channel_id}


def _audited_fields(invite: Invite) -> Json:
    values = {
        **_usage_fields(invite),
        "code": invite.code,
        "channel_id": invite.channel_id,
        "inviter_id": invite.inviter_id,
    }
    return {key: values[key] for key in _AUDITED}

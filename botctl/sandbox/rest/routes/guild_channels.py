"""The channels of a guild: list, create and move them (Discord: Guild resource)."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.actions import audit_log, moderation
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import payloads, permission_bits, permissions
from botctl.sandbox.model.api_error import ApiError, FormErrors, missing_permissions, unknown
from botctl.sandbox.model.channels import bodies
from botctl.sandbox.model.channels.bodies import CHANNEL_TYPES
from botctl.sandbox.model.channels.types import CATEGORY, TEXT
from botctl.sandbox.model.world import Channel, Guild, Overwrite
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.routing import ApiCall, ApiReply, route

Json = dict[str, Any]
CHANNELS = "/guilds/{guild}/channels"
_MAX_CHANNELS = 500
_AUDITED = ("name", "type", "topic", "nsfw", "rate_limit_per_user", "permission_overwrites", "parent_id", "position")


@route("GET", CHANNELS)
def list_channels(call: ApiCall) -> list[Json]:
    """The channels that the bot sees, without threads."""
    guild, world = access.get_guild(call), call.sandbox.world
    me = access.own_member(call, guild)
    return [
        payloads.channel(channel)
        for channel in guild.channels.values()
        if permissions.can_see(world, guild, me, channel)
    ]


@route("POST", CHANNELS)
def create_channel(call: ApiCall) -> ApiReply:
    guild = access.get_guild(call, "MANAGE_CHANNELS")
    sandbox, errors = call.sandbox, FormErrors()
    kind = errors.choice((), call.form, "type", CHANNEL_TYPES) or TEXT
    errors.text((), call.form, "name", 1, 100)
    errors.check()
    fields, settings = bodies.parse_fields(sandbox.world, guild, call.form, kind)
    if len(guild.channels) >= _MAX_CHANNELS:
        raise ApiError(400, 30013, f"Maximum number of server channels reached ({_MAX_CHANNELS})")
    check_overwrites(call, guild, {}, fields.get("overwrites", {}))
    fields.setdefault("position", sum(existing.type == kind for existing in guild.channels.values()))
    settings = bodies.default_settings(kind) | settings
    channel = Channel(sandbox.world.new_id(), guild.id, type=kind, settings=settings, **fields)
    sandbox.world.add_channel(channel)
    sandbox.emit_channel_event("CHANNEL_CREATE", channel)
    audit.write_entry(
        call, guild, AuditAction.CHANNEL_CREATE, channel.id, changes=audit_log.diff({}, _audited_fields(channel))
    )
    return ApiReply(201, payloads.channel(channel))


@route("PATCH", CHANNELS)
def move_channels(call: ApiCall) -> None:
    """Sets position and category. With ``lock_permissions`` a channel gets the overwrites of its category."""
    guild = access.get_guild(call, "MANAGE_CHANNELS")
    for channel, fields in _parse_moves(call, guild):
        before = _audited_fields(channel)
        for name, value in fields.items():
            setattr(channel, name, value)
        if changes := audit_log.diff(before, _audited_fields(channel)):
            moderation.emit_channel_update(call.sandbox, channel)
            audit.write_entry(call, guild, AuditAction.CHANNEL_UPDATE, channel.id, changes=changes)


def check_overwrites(
    call: ApiCall,
    guild: Guild,
    before: dict[str, Overwrite],
    after: dict[str, Overwrite],
    granted: int | None = None,
) -> None:
    """Raises 50013 (missing permissions) when the bot may not make this change of overwrites (by role or user id).

    Discord: Create Guild Channel: a bot can allow or deny only permissions that it has (``granted``; default: those in
    the guild), and MANAGE_ROLES only as an administrator.
    """
    allowed = (
        permissions.compute(call.sandbox.world, guild, access.own_member(call, guild)) if granted is None else granted
    )
    allowed = allowed if allowed & permission_bits.ADMINISTRATOR else allowed & ~permission_bits.bits("MANAGE_ROLES")
    if bodies.changed_permissions(before, after) & ~allowed:
        raise missing_permissions()


def _parse_moves(call: ApiCall, guild: Guild) -> list[tuple[Channel, Json]]:
    errors, moves = FormErrors(), []
    for index, item in enumerate(errors.objects((), {"": call.body}, "")):
        channel = guild.channels.get(errors.snowflake((index,), item, "id") or "")
        position = errors.number((index,), item, "position", 0, 2**31 - 1)
        parent_id = errors.snowflake((index,), item, "parent_id")
        parent = guild.channels.get(parent_id or "")
        if parent_id and (parent is None or parent.type != CATEGORY):
            errors.add((index, "parent_id"), "CHANNEL_PARENT_INVALID_TYPE", "Not a category")
        errors.check()
        if channel is None:
            raise unknown("Channel")
        fields: Json = {} if position is None else {"position": position}
        fields |= {"parent_id": parent_id} if "parent_id" in item else {}
        if item.get("lock_permissions") and parent is not None:
            fields["overwrites"] = dict(parent.overwrites)
        moves.append((channel, fields))
    errors.check()
    return moves


def _audited_fields(channel: Channel) -> Json:
    payload = payloads.channel(channel)
    return {key: payload[key] for key in _AUDITED if payload.get(key) is not None}

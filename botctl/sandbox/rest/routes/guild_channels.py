"""The channels of a guild as a whole: listing, making and arranging them (Discord: Guild resource)."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.actions import audit_log, moderation
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import payloads, permission_bits, permissions
from botctl.sandbox.model.api_error import ApiError, FormErrors, missing_permissions, unknown
from botctl.sandbox.model.channels import forms
from botctl.sandbox.model.channels.forms import CHANNEL_TYPES
from botctl.sandbox.model.channels.types import CATEGORY, TEXT
from botctl.sandbox.model.world import Channel, Guild, Overwrite
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.routing import ApiCall, ApiReply, route

Json = dict[str, Any]
CHANNELS = "/guilds/{guild}/channels"
_MOST = 500
_LOGGED = ("name", "type", "topic", "nsfw", "rate_limit_per_user", "permission_overwrites", "parent_id", "position")


@route("GET", CHANNELS)
def list_channels(call: ApiCall) -> list[Json]:
    """Those that the bot sees; threads are elsewhere."""
    guild, world = access.guild_of(call), call.sandbox.world
    me = access.me(call, guild)
    return [payloads.channel(one) for one in guild.channels.values() if permissions.can_see(world, guild, me, one)]


@route("POST", CHANNELS)
def create_channel(call: ApiCall) -> ApiReply:
    guild = access.guild_of(call, "MANAGE_CHANNELS")
    sandbox, errors = call.sandbox, FormErrors()
    kind = errors.choice((), call.form, "type", CHANNEL_TYPES) or TEXT
    errors.text((), call.form, "name", 1, 100)
    errors.check()
    fields, settings = forms.parse_fields(sandbox.world, guild, call.form, kind)
    if len(guild.channels) >= _MOST:
        raise ApiError(400, 30013, f"Maximum number of server channels reached ({_MOST})")
    may_overwrite(call, guild, {}, fields.get("overwrites", {}))
    fields.setdefault("position", sum(one.type == kind for one in guild.channels.values()))
    settings = forms.default_settings(kind) | settings
    channel = Channel(sandbox.world.new_id(), guild.id, type=kind, settings=settings, **fields)
    sandbox.world.add_channel(channel)
    sandbox.emit_channel_event("CHANNEL_CREATE", channel)
    audit.note(call, guild, AuditAction.CHANNEL_CREATE, channel.id, changes=audit_log.diff({}, _logged(channel)))
    return ApiReply(201, payloads.channel(channel))


@route("PATCH", CHANNELS)
def arrange_channels(call: ApiCall) -> None:
    """Several channels get a place: a position, a category, with its overwrites where ``lock_permissions`` is set."""
    guild = access.guild_of(call, "MANAGE_CHANNELS")
    for channel, fields in _arranged(call, guild):
        before = _logged(channel)
        for name, value in fields.items():
            setattr(channel, name, value)
        if changes := audit_log.diff(before, _logged(channel)):
            moderation.emit_channel_update(call.sandbox, channel)
            audit.note(call, guild, AuditAction.CHANNEL_UPDATE, channel.id, changes=changes)


def may_overwrite(
    call: ApiCall, guild: Guild, before: dict[str, Overwrite], after: dict[str, Overwrite], granted: int | None = None
) -> None:
    """Raises 50013 where the bot may not turn one set of overwrites into the other. ``granted``: what it may do there.

    Discord: Create Guild Channel: only permissions that the bot has can be allowed or denied, and MANAGE_ROLES only by
    administrators.
    """
    may = permissions.compute(call.sandbox.world, guild, access.me(call, guild)) if granted is None else granted
    may = may if may & permission_bits.ADMINISTRATOR else may & ~permission_bits.bits("MANAGE_ROLES")
    if forms.changed_permissions(before, after) & ~may:
        raise missing_permissions()


def _arranged(call: ApiCall, guild: Guild) -> list[tuple[Channel, Json]]:
    errors, found = FormErrors(), []
    for index, one in enumerate(errors.objects((), {"": call.body}, "")):
        channel = guild.channels.get(errors.snowflake((index,), one, "id") or "")
        position = errors.number((index,), one, "position", 0, 2**31 - 1)
        parent_id = errors.snowflake((index,), one, "parent_id")
        parent = guild.channels.get(parent_id or "")
        if parent_id and (parent is None or parent.type != CATEGORY):
            errors.add((index, "parent_id"), "CHANNEL_PARENT_INVALID_TYPE", "Not a category")
        errors.check()
        if channel is None:
            raise unknown("Channel")
        fields: Json = {} if position is None else {"position": position}
        fields |= {"parent_id": parent_id} if "parent_id" in one else {}
        if one.get("lock_permissions") and parent is not None:
            fields["overwrites"] = dict(parent.overwrites)
        found.append((channel, fields))
    errors.check()
    return found


def _logged(channel: Channel) -> Json:
    shown = payloads.channel(channel)
    return {key: shown[key] for key in _LOGGED if shown.get(key) is not None}

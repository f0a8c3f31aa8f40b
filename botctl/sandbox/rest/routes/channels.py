"""One channel, its permission overwrites and the typing indicator (Discord: Channel resource)."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.actions import audit_log, moderation, posting, threads
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import payloads, permission_bits
from botctl.sandbox.model.api_error import ApiError, FormErrors, dm_not_allowed, missing_permissions, unknown
from botctl.sandbox.model.channels import bodies
from botctl.sandbox.model.channels.types import ANNOUNCEMENT, TEXT
from botctl.sandbox.model.world import Channel, Guild, Overwrite, Thread
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.routes.guild_channels import check_overwrites
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]
CHANNEL = "/channels/{channel}"
OVERWRITE = CHANNEL + "/permissions/{overwrite}"
_AUDITED = ("name", "type", "topic", "nsfw", "rate_limit_per_user", "parent_id", "position")
_THREAD_AUDITED = ("archived", "locked", "auto_archive_duration", "invitable")
_OWNER_FIELDS = {"name", "archived", "auto_archive_duration"}  # of a thread, which its owner may edit


@route("GET", CHANNEL)
def get_channel(call: ApiCall) -> Json:
    return _payload(call, access.get_channel(call))


@route("PATCH", CHANNEL)
def edit_channel(call: ApiCall) -> Json:
    channel = access.get_channel(call)
    if channel.thread is not None:
        _edit_thread(call, channel, channel.thread)
    elif channel.guild_id:
        _edit_guild_channel(call, channel)
    else:
        raise dm_not_allowed()
    return _payload(call, channel)


@route("DELETE", CHANNEL)
def delete_channel(call: ApiCall) -> Json:
    """A DM is only closed; its messages are kept."""
    channel = access.get_channel(call)
    payload = _payload(call, channel)
    if not channel.guild_id:
        return payload
    guild = call.sandbox.world.guilds[channel.guild_id]
    if channel.thread is not None:
        access.require_permissions_in(call, channel, "MANAGE_THREADS")
        threads.delete(call.sandbox, channel)
        audit.write_entry(
            call, guild, AuditAction.THREAD_DELETE, channel.id, changes=audit_log.diff(_audited_fields(payload), {})
        )
    else:
        access.require_permissions_in(call, channel, "MANAGE_CHANNELS")
        _delete_guild_channel(call, guild, channel)
        audit.write_entry(
            call, guild, AuditAction.CHANNEL_DELETE, channel.id, changes=audit_log.diff(_audited_fields(payload), {})
        )
    return payload


@route("PUT", OVERWRITE)
def put_overwrite(call: ApiCall) -> None:
    channel, guild = _get_overwritable(call)
    errors, target = FormErrors(), call.path["overwrite"]
    kind = errors.choice((), call.form, "type", (0, 1))
    if call.form.get("type") is None:
        errors.add(("type",), "BASE_TYPE_REQUIRED", "This field is required")
    overwrite = bodies.parse_overwrite(errors, (), {**call.form, "id": target})
    errors.check()
    if overwrite is None or (kind == 0 and target not in guild.roles) or target not in {*guild.roles, *guild.members}:
        raise unknown("Overwrite")
    old = channel.overwrites.get(target)
    _set_overwrites(call, channel, guild, {**channel.overwrites, target: overwrite})
    action = AuditAction.CHANNEL_OVERWRITE_UPDATE if old else AuditAction.CHANNEL_OVERWRITE_CREATE
    _audit_overwrite(call, channel, action, old, overwrite)


@route("DELETE", OVERWRITE)
def delete_overwrite(call: ApiCall) -> None:
    channel, guild = _get_overwritable(call)
    old = channel.overwrites.get(call.path["overwrite"])
    if old is None:
        raise unknown("Overwrite")
    _set_overwrites(
        call, channel, guild, {key: overwrite for key, overwrite in channel.overwrites.items() if key != old.id}
    )
    _audit_overwrite(call, channel, AuditAction.CHANNEL_OVERWRITE_DELETE, old, None)


@route("POST", CHANNEL + "/typing")
def typing(call: ApiCall) -> None:
    channel = access.get_channel(call)
    access.require_permissions_in(call, channel, "SEND_MESSAGES_IN_THREADS" if channel.thread else "SEND_MESSAGES")
    posting.start_typing(call.sandbox, channel, call.app.id)


def _payload(call: ApiCall, channel: Channel) -> Json:
    return payloads.any_channel(channel, call.sandbox.world, viewer=call.app.id)


def _edit_guild_channel(call: ApiCall, channel: Channel) -> None:
    access.require_permissions_in(call, channel, "MANAGE_CHANNELS")
    world, guild = call.sandbox.world, call.sandbox.world.guilds[channel.guild_id]
    errors = FormErrors()
    convertible = (TEXT, ANNOUNCEMENT)
    kinds = convertible if channel.type in convertible else (channel.type,)
    kind = errors.choice((), call.form, "type", kinds)
    errors.check()
    fields, settings = bodies.parse_fields(world, guild, call.form, channel.type if kind is None else kind)
    if "overwrites" in fields:
        access.require_permissions_in(call, channel, "MANAGE_ROLES")
        check_overwrites(call, guild, channel.overwrites, fields["overwrites"], access.permissions_in(call, channel))
    before = _audited_fields(_payload(call, channel))
    overwrites = fields.pop("overwrites", channel.overwrites)
    for name, value in (fields | ({} if kind is None else {"type": kind})).items():
        setattr(channel, name, value)
    channel.settings |= settings
    moderation.set_overwrites(call.sandbox, channel, overwrites)
    if changes := audit_log.diff(before, _audited_fields(_payload(call, channel))):
        audit.write_entry(call, guild, AuditAction.CHANNEL_UPDATE, channel.id, changes=changes)


def _edit_thread(call: ApiCall, thread: Channel, state: Thread) -> None:
    body, granted = call.form, access.permissions_in(call, thread)
    _check_thread_edit(call, thread, state, granted)
    errors = FormErrors()
    name = errors.text((), body, "name", 1, 100) if "name" in body else thread.name
    flags = {name: errors.field((), body, name, bool) for name in ("archived", "locked", "invitable")}
    minutes = errors.choice((), body, "auto_archive_duration", bodies.ARCHIVE_MINUTES)
    slowmode_s = errors.number((), body, "rate_limit_per_user", 0, bodies.SLOWMODE_MAX_S)
    errors.check()
    if state.archived and flags["archived"] is not False and set(body) - {"archived", "locked"}:
        threads.check_not_archived(thread)
    before = _audited_fields(_payload(call, thread))
    thread.name, thread.slowmode_s = name, thread.slowmode_s if slowmode_s is None else slowmode_s
    state.locked = state.locked if flags["locked"] is None else flags["locked"]
    state.invitable = state.invitable if flags["invitable"] is None else flags["invitable"]
    archived = state.archived if flags["archived"] is None else flags["archived"]
    if archived != state.archived or minutes:
        state.auto_archive_minutes = minutes or state.auto_archive_minutes
        threads.set_archived(call.sandbox, thread, state, archived=archived)
    threads.emit_update(call.sandbox, thread)
    guild = call.sandbox.world.guilds[thread.guild_id]
    if changes := audit_log.diff(before, _audited_fields(_payload(call, thread))):
        audit.write_entry(call, guild, AuditAction.THREAD_UPDATE, thread.id, changes=changes)


def _check_thread_edit(call: ApiCall, thread: Channel, state: Thread, granted: int) -> None:
    """Raises 160005 if the thread is locked, 50013 if ``granted``, the bot's permissions there, are not enough.

    Members who can write in a thread can unarchive it; its owner can rename and archive it.
    """
    if granted & permission_bits.BITS["MANAGE_THREADS"]:
        return
    if state.locked:
        raise ApiError(400, 160005, "Thread is locked")
    if call.form == {"archived": False} and granted & permission_bits.IN_THREADS:
        return
    if thread.owner_id != call.app.id or set(call.form) - _OWNER_FIELDS:
        raise missing_permissions()


def _delete_guild_channel(call: ApiCall, guild: Guild, channel: Channel) -> None:
    """The channels of a deleted category stay, without a category."""
    sandbox = call.sandbox
    for child in guild.channels.values():
        if child.parent_id == channel.id:
            child.parent_id = None
            moderation.emit_channel_update(sandbox, child)
    if guild.system_channel_id == channel.id:
        guild.system_channel_id = None
    sandbox.world.remove_channel(channel)
    sandbox.emit_channel_event("CHANNEL_DELETE", channel)


def _get_overwritable(call: ApiCall) -> tuple[Channel, Guild]:
    """The path's channel and its guild; raises 50003 for a DM, 10003 for a thread, 50013 without MANAGE_ROLES."""
    channel = access.get_channel(call)
    if not channel.guild_id:
        raise dm_not_allowed()
    if channel.thread is not None:
        raise unknown("Channel")
    access.require_permissions_in(call, channel, "MANAGE_ROLES")
    return channel, call.sandbox.world.guilds[channel.guild_id]


def _set_overwrites(call: ApiCall, channel: Channel, guild: Guild, after: dict[str, Overwrite]) -> None:
    check_overwrites(call, guild, channel.overwrites, after, access.permissions_in(call, channel))
    moderation.set_overwrites(call.sandbox, channel, after)


def _audit_overwrite(
    call: ApiCall, channel: Channel, action: AuditAction, old: Overwrite | None, new: Overwrite | None
) -> None:
    guild = call.sandbox.world.guilds[channel.guild_id]
    overwrite = new or old
    if overwrite is None:
        return
    options = {"id": overwrite.id, "type": str(overwrite.type)}
    if overwrite.type == 0 and overwrite.id in guild.roles:
        options["role_name"] = guild.roles[overwrite.id].name
    logged = [payloads.overwrite(side) if side else {} for side in (old, new)]
    audit.write_entry(call, guild, action, channel.id, changes=audit_log.diff(*logged), options=options)


def _audited_fields(payload: Json) -> Json:
    """The fields of a channel or thread that the audit log compares."""
    metadata = payload.get("thread_metadata", {})
    fields = {key: payload[key] for key in _AUDITED if payload.get(key) is not None}
    return fields | {key: metadata[key] for key in _THREAD_AUDITED if key in metadata}

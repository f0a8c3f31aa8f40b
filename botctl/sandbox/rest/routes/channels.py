"""Channels: seeing and changing one, its overwrites, and that somebody writes (Discord: Channel resource)."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.actions import audit_log, moderation, posting, threads
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import payloads, permission_bits
from botctl.sandbox.model.api_error import ApiError, FormErrors, direct_channel, missing_permissions, unknown
from botctl.sandbox.model.channels import forms
from botctl.sandbox.model.channels.types import ANNOUNCEMENT, TEXT
from botctl.sandbox.model.world import Channel, Guild, Overwrite, Thread
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.routes.guild_channels import may_overwrite
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]
CHANNEL = "/channels/{channel}"
OVERWRITE = CHANNEL + "/permissions/{overwrite}"
_LOGGED = ("name", "type", "topic", "nsfw", "rate_limit_per_user", "parent_id", "position")
_THREAD_LOGGED = ("archived", "locked", "auto_archive_duration", "invitable")
_OWNERS = {"name", "archived", "auto_archive_duration"}  # of a thread, what its owner may change too


@route("GET", CHANNEL)
def get_channel(call: ApiCall) -> Json:
    return _shown(call, access.channel_of(call))


@route("PATCH", CHANNEL)
def edit_channel(call: ApiCall) -> Json:
    channel = access.channel_of(call)
    if channel.thread is not None:
        _edit_thread(call, channel, channel.thread)
    elif channel.guild_id:
        _edit_guild_channel(call, channel)
    else:
        raise direct_channel()
    return _shown(call, channel)


@route("DELETE", CHANNEL)
def delete_channel(call: ApiCall) -> Json:
    """A DM is only closed: it opens again with what was said in it."""
    channel = access.channel_of(call)
    shown = _shown(call, channel)
    if not channel.guild_id:
        return shown
    guild = call.sandbox.world.guilds[channel.guild_id]
    if channel.thread is not None:
        access.need_in(call, channel, "MANAGE_THREADS")
        threads.delete(call.sandbox, channel)
        audit.note(call, guild, AuditAction.THREAD_DELETE, channel.id, changes=audit_log.diff(_logged(shown), {}))
    else:
        access.need_in(call, channel, "MANAGE_CHANNELS")
        _delete_guild_channel(call, guild, channel)
        audit.note(call, guild, AuditAction.CHANNEL_DELETE, channel.id, changes=audit_log.diff(_logged(shown), {}))
    return shown


@route("PUT", OVERWRITE)
def put_overwrite(call: ApiCall) -> None:
    channel, guild = _overwritable(call)
    errors, target = FormErrors(), call.path["overwrite"]
    kind = errors.choice((), call.form, "type", (0, 1))
    if call.form.get("type") is None:
        errors.add(("type",), "BASE_TYPE_REQUIRED", "This field is required")
    made = forms.parse_overwrite(errors, (), {**call.form, "id": target})
    errors.check()
    if made is None or (kind == 0 and target not in guild.roles) or target not in {*guild.roles, *guild.members}:
        raise unknown("Overwrite")
    old = channel.overwrites.get(target)
    _overwrite(call, channel, guild, {**channel.overwrites, target: made})
    action = AuditAction.CHANNEL_OVERWRITE_UPDATE if old else AuditAction.CHANNEL_OVERWRITE_CREATE
    _note_overwrite(call, channel, action, old, made)


@route("DELETE", OVERWRITE)
def delete_overwrite(call: ApiCall) -> None:
    channel, guild = _overwritable(call)
    old = channel.overwrites.get(call.path["overwrite"])
    if old is None:
        raise unknown("Overwrite")
    _overwrite(call, channel, guild, {key: one for key, one in channel.overwrites.items() if key != old.id})
    _note_overwrite(call, channel, AuditAction.CHANNEL_OVERWRITE_DELETE, old, None)


@route("POST", CHANNEL + "/typing")
def typing(call: ApiCall) -> None:
    channel = access.channel_of(call)
    access.need_in(call, channel, "SEND_MESSAGES_IN_THREADS" if channel.thread else "SEND_MESSAGES")
    posting.start_typing(call.sandbox, channel, call.app.id)


def _shown(call: ApiCall, channel: Channel) -> Json:
    return payloads.any_channel(channel, call.sandbox.world, viewer=call.app.id)


def _edit_guild_channel(call: ApiCall, channel: Channel) -> None:
    access.need_in(call, channel, "MANAGE_CHANNELS")
    world, guild = call.sandbox.world, call.sandbox.world.guilds[channel.guild_id]
    errors = FormErrors()
    convertible = (TEXT, ANNOUNCEMENT)
    offered = convertible if channel.type in convertible else (channel.type,)
    kind = errors.choice((), call.form, "type", offered)
    errors.check()
    fields, settings = forms.parse_fields(world, guild, call.form, channel.type if kind is None else kind)
    if "overwrites" in fields:
        access.need_in(call, channel, "MANAGE_ROLES")
        may_overwrite(call, guild, channel.overwrites, fields["overwrites"], access.may_in(call, channel))
    before = _logged(_shown(call, channel))
    overwrites = fields.pop("overwrites", channel.overwrites)
    for name, value in (fields | ({} if kind is None else {"type": kind})).items():
        setattr(channel, name, value)
    channel.settings |= settings
    moderation.set_overwrites(call.sandbox, channel, overwrites)
    if changes := audit_log.diff(before, _logged(_shown(call, channel))):
        audit.note(call, guild, AuditAction.CHANNEL_UPDATE, channel.id, changes=changes)


def _edit_thread(call: ApiCall, thread: Channel, state: Thread) -> None:
    body, may = call.form, access.may_in(call, thread)
    _may_edit_thread(call, thread, state, may)
    errors = FormErrors()
    name = errors.text((), body, "name", 1, 100) if "name" in body else thread.name
    flags = {one: errors.field((), body, one, bool) for one in ("archived", "locked", "invitable")}
    minutes = errors.choice((), body, "auto_archive_duration", forms.ARCHIVE_MINUTES)
    slowmode_s = errors.number((), body, "rate_limit_per_user", 0, forms.SLOWMODE_MAX_S)
    errors.check()
    if state.archived and flags["archived"] is not False and set(body) - {"archived", "locked"}:
        threads.check_not_archived(thread)
    before = _logged(_shown(call, thread))
    thread.name, thread.slowmode_s = name, thread.slowmode_s if slowmode_s is None else slowmode_s
    state.locked = state.locked if flags["locked"] is None else flags["locked"]
    state.invitable = state.invitable if flags["invitable"] is None else flags["invitable"]
    archived = state.archived if flags["archived"] is None else flags["archived"]
    if archived != state.archived or minutes:
        state.auto_archive_minutes = minutes or state.auto_archive_minutes
        threads.set_archived(call.sandbox, thread, state, archived=archived)
    threads.emit_update(call.sandbox, thread)
    guild = call.sandbox.world.guilds[thread.guild_id]
    if changes := audit_log.diff(before, _logged(_shown(call, thread))):
        audit.note(call, guild, AuditAction.THREAD_UPDATE, thread.id, changes=changes)


def _may_edit_thread(call: ApiCall, thread: Channel, state: Thread, may: int) -> None:
    """Raises 50013, 160005. Who may speak in a thread may wake it; its owner may name it and put it to sleep."""
    if may & permission_bits.BITS["MANAGE_THREADS"]:
        return
    if state.locked:
        raise ApiError(400, 160005, "Thread is locked")
    if call.form == {"archived": False} and may & permission_bits.IN_THREADS:
        return
    if thread.owner_id != call.app.id or set(call.form) - _OWNERS:
        raise missing_permissions()


def _delete_guild_channel(call: ApiCall, guild: Guild, channel: Channel) -> None:
    """What stood in a category stands alone afterwards."""
    sandbox = call.sandbox
    for child in guild.channels.values():
        if child.parent_id == channel.id:
            child.parent_id = None
            moderation.emit_channel_update(sandbox, child)
    if guild.system_channel_id == channel.id:
        guild.system_channel_id = None
    sandbox.world.remove_channel(channel)
    sandbox.emit_channel_event("CHANNEL_DELETE", channel)


def _overwritable(call: ApiCall) -> tuple[Channel, Guild]:
    channel = access.channel_of(call)
    if not channel.guild_id:
        raise direct_channel()
    if channel.thread is not None:
        raise unknown("Channel")
    access.need_in(call, channel, "MANAGE_ROLES")
    return channel, call.sandbox.world.guilds[channel.guild_id]


def _overwrite(call: ApiCall, channel: Channel, guild: Guild, after: dict[str, Overwrite]) -> None:
    may_overwrite(call, guild, channel.overwrites, after, access.may_in(call, channel))
    moderation.set_overwrites(call.sandbox, channel, after)


def _note_overwrite(
    call: ApiCall, channel: Channel, action: AuditAction, old: Overwrite | None, new: Overwrite | None
) -> None:
    guild = call.sandbox.world.guilds[channel.guild_id]
    one = new or old
    if one is None:
        return
    options = {"id": one.id, "type": str(one.type)}
    if one.type == 0 and one.id in guild.roles:
        options["role_name"] = guild.roles[one.id].name
    shown = [payloads.overwrite(each) if each else {} for each in (old, new)]
    audit.note(call, guild, action, channel.id, changes=audit_log.diff(*shown), options=options)


def _logged(shown: Json) -> Json:
    """What the audit log compares of a channel or a thread."""
    metadata = shown.get("thread_metadata", {})
    kept = {key: shown[key] for key in _LOGGED if shown.get(key) is not None}
    return kept | {key: metadata[key] for key in _THREAD_LOGGED if key in metadata}

"""Pinned messages: the routes of today, and those that older libraries use (Discord: Message resource > Pins)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from botctl.sandbox.actions import posting, threads
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import permission_bits
from botctl.sandbox.model.api_error import ApiError, FormErrors, system_message
from botctl.sandbox.model.messages.drafts import Draft
from botctl.sandbox.model.world import Channel, Message
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]
PINS = "/channels/{channel}/messages/pins"
OLD_PINS = "/channels/{channel}/pins"
_MOST = 250
_SHOWN_MOST = 50
_PINNED = 6  # Discord: Message resource > Message Types


@route("GET", PINS)
def list_pins(call: ApiCall) -> Json:
    """Newest first, ``before`` a time; none without the right to read the history."""
    channel = access.channel_of(call)
    limit, found, errors = call.limit(_SHOWN_MOST, _SHOWN_MOST), _readable(call, channel), FormErrors()
    before = errors.time((), call.query, "before")
    errors.check()
    if before:
        found = [one for one in found if datetime.fromisoformat(one.pinned_at or "") < before]
    items = [{"pinned_at": one.pinned_at, "message": access.shown(call, one)} for one in found[:limit]]
    return {"items": items, "has_more": len(found) > limit}


@route("GET", OLD_PINS)
def list_newest(call: ApiCall) -> list[Json]:
    return [access.shown(call, one) for one in _readable(call, access.channel_of(call))[:_SHOWN_MOST]]


@route("PUT", PINS + "/{message}")
@route("PUT", OLD_PINS + "/{message}")
def pin(call: ApiCall) -> None:
    channel = access.channel_of(call, "PIN_MESSAGES")
    message, sandbox = access.message_of(call, channel), call.sandbox
    threads.check_not_archived(channel)
    if message.pinned_at is not None:
        return
    if message.type not in posting.DELETABLE:
        raise system_message()
    if len(_pinned(call, channel)) >= _MOST:
        raise ApiError(400, 30003, f"Maximum number of pins reached for the channel ({_MOST})")
    message.pinned_at = channel.last_pin_at = sandbox.world.timestamp()
    _tell(call, channel, message, AuditAction.MESSAGE_PIN)
    where = {"guild_id": channel.guild_id} if channel.guild_id else {}
    reference = {"type": 0, "message_id": message.id, "channel_id": channel.id, **where}
    may = access.may_in(call, channel)
    posting.post(sandbox, channel, Draft(), call.app.id, granted=may, type=_PINNED, reference=reference)


@route("DELETE", PINS + "/{message}")
@route("DELETE", OLD_PINS + "/{message}")
def unpin(call: ApiCall) -> None:
    channel = access.channel_of(call, "PIN_MESSAGES")
    message = access.message_of(call, channel)
    threads.check_not_archived(channel)
    if message.pinned_at is not None:
        message.pinned_at = None
        left = _pinned(call, channel)
        channel.last_pin_at = left[0].pinned_at if left else None
        _tell(call, channel, message, AuditAction.MESSAGE_UNPIN)


def _tell(call: ApiCall, channel: Channel, message: Message, action: AuditAction) -> None:
    event = {"channel_id": channel.id, "last_pin_timestamp": channel.last_pin_at}
    if channel.guild_id:
        guild = call.sandbox.world.guilds[channel.guild_id]
        event["guild_id"] = guild.id
        options = {"channel_id": channel.id, "message_id": message.id}
        audit.note(call, guild, action, message.author_id, options=options)
    call.sandbox.emit("CHANNEL_PINS_UPDATE", event, channel.guild_id or None, channel=channel)
    call.sandbox.emit_message_update(message)


def _readable(call: ApiCall, channel: Channel) -> list[Message]:
    return _pinned(call, channel) if access.may_in(call, channel) & permission_bits.HISTORY else []


def _pinned(call: ApiCall, channel: Channel) -> list[Message]:
    there = call.sandbox.world.messages.get(channel.id, {}).values()
    return sorted((one for one in there if one.pinned_at), key=lambda one: one.pinned_at or "", reverse=True)

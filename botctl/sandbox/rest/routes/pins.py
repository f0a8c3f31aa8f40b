"""Pinned messages, at the current paths and the older ones (Discord: Message resource > Pins)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from botctl.sandbox.actions import posting, threads
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import permission_bits
from botctl.sandbox.model.api_error import ApiError, FormErrors, system_message_not_allowed
from botctl.sandbox.model.messages.drafts import Draft
from botctl.sandbox.model.world import Channel, Message
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]
PINS = "/channels/{channel}/messages/pins"
OLD_PINS = "/channels/{channel}/pins"
_MAX_PINS = 250
_MAX_PAGE = 50
_PIN_NOTICE = 6  # Discord: Message resource > Message Types


@route("GET", PINS)
def list_pins(call: ApiCall) -> Json:
    """Newest first, only those pinned before the time ``before``; empty without READ_MESSAGE_HISTORY."""
    channel = access.get_channel(call)
    limit, pinned, errors = call.limit(_MAX_PAGE, _MAX_PAGE), _readable_pins(call, channel), FormErrors()
    before = errors.time((), call.query, "before")
    errors.check()
    if before:
        pinned = [message for message in pinned if datetime.fromisoformat(message.pinned_at or "") < before]
    items = [
        {"pinned_at": message.pinned_at, "message": access.message_payload(call, message)} for message in pinned[:limit]
    ]
    return {"items": items, "has_more": len(pinned) > limit}


@route("GET", OLD_PINS)
def list_newest(call: ApiCall) -> list[Json]:
    return [
        access.message_payload(call, message) for message in _readable_pins(call, access.get_channel(call))[:_MAX_PAGE]
    ]


@route("PUT", PINS + "/{message}")
@route("PUT", OLD_PINS + "/{message}")
def pin(call: ApiCall) -> None:
    channel = access.get_channel(call, "PIN_MESSAGES")
    message, sandbox = access.get_message(call, channel), call.sandbox
    threads.check_not_archived(channel)
    if message.pinned_at is not None:
        return
    if message.type not in posting.DELETABLE_TYPES:
        raise system_message_not_allowed()
    if len(_pinned_messages(call, channel)) >= _MAX_PINS:
        raise ApiError(400, 30003, f"Maximum number of pins reached for the channel ({_MAX_PINS})")
    message.pinned_at = channel.last_pin_at = sandbox.world.timestamp()
    _record_and_emit(call, channel, message, AuditAction.MESSAGE_PIN)
    guild_field = {"guild_id": channel.guild_id} if channel.guild_id else {}
    reference = {"type": 0, "message_id": message.id, "channel_id": channel.id, **guild_field}
    granted = access.permissions_in(call, channel)
    posting.post(sandbox, channel, Draft(), call.app.id, granted=granted, type=_PIN_NOTICE, reference=reference)


@route("DELETE", PINS + "/{message}")
@route("DELETE", OLD_PINS + "/{message}")
def unpin(call: ApiCall) -> None:
    channel = access.get_channel(call, "PIN_MESSAGES")
    message = access.get_message(call, channel)
    threads.check_not_archived(channel)
    if message.pinned_at is not None:
        message.pinned_at = None
        remaining = _pinned_messages(call, channel)
        channel.last_pin_at = remaining[0].pinned_at if remaining else None
        _record_and_emit(call, channel, message, AuditAction.MESSAGE_UNPIN)


def _record_and_emit(call: ApiCall, channel: Channel, message: Message, action: AuditAction) -> None:
    event = {"channel_id": channel.id, "last_pin_timestamp": channel.last_pin_at}
    if channel.guild_id:
        guild = call.sandbox.world.guilds[channel.guild_id]
        event["guild_id"] = guild.id
        options = {"channel_id": channel.id, "message_id": message.id}
        audit.write_entry(call, guild, action, message.author_id, options=options)
    call.sandbox.emit("CHANNEL_PINS_UPDATE", event, channel.guild_id or None, channel=channel)
    call.sandbox.emit_message_update(message)


def _readable_pins(call: ApiCall, channel: Channel) -> list[Message]:
    return _pinned_messages(call, channel) if access.permissions_in(call, channel) & permission_bits.HISTORY else []


def _pinned_messages(call: ApiCall, channel: Channel) -> list[Message]:
    messages = call.sandbox.world.messages.get(channel.id, {}).values()
    return sorted(
        (message for message in messages if message.pinned_at),
        key=lambda message: message.pinned_at or "",
        reverse=True,
    )

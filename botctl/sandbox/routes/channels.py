"""Channels and their messages."""

from __future__ import annotations

from typing import Any

from botctl.sandbox import messages, payloads
from botctl.sandbox.refusal import FormErrors, Refusal, unknown
from botctl.sandbox.rest import Call, route
from botctl.sandbox.world import EPHEMERAL, LOADING, Channel, Message

Json = dict[str, Any]
CHANNEL = "/channels/{channel}"
MESSAGES = "/channels/{channel}/messages"


@route("GET", CHANNEL)
def get_channel(call: Call) -> Json:
    return payloads.channel(_channel(call))


@route("GET", MESSAGES)
def list_messages(call: Call) -> list[Json]:
    world, channel = call.sandbox.world, _channel(call)
    before, after = call.query.get("before"), call.query.get("after")
    limit = call.limit(50, 100)
    found = messages.listed(world, channel.id, viewer="", limit=limit, before=before, after=after)
    return [payloads.message(one, world) for one in found]


@route("POST", MESSAGES)
def create_message(call: Call) -> Json:
    sandbox, channel, body = call.sandbox, _channel(call), call.form
    made = messages.draft(body, call.uploads, sandbox.world)
    sandbox.keep(made)
    errors = FormErrors()
    reference = errors.field((), body, "message_reference", dict) or {}
    nonce = body.get("nonce")
    errors.check()
    message = messages.create(
        sandbox.world,
        made,
        channel_id=channel.id,
        guild_id=channel.guild_id,
        author_id=call.app.id,
        flags=made.flags & ~(EPHEMERAL | LOADING),
        type=19 if reference else 0,
        reply_to=str(reference["message_id"]) if reference.get("message_id") else None,
        nonce=nonce if isinstance(nonce, str | int) else None,
    )
    return payloads.message(sandbox.post(message), sandbox.world)


@route("GET", MESSAGES + "/{message}")
def get_message(call: Call) -> Json:
    return payloads.message(_message(call), call.sandbox.world)


@route("PATCH", MESSAGES + "/{message}")
def edit_message(call: Call) -> Json:
    sandbox, message = call.sandbox, _message(call)
    if message.author_id != call.app.id:
        raise Refusal(403, 50005, "Cannot edit a message authored by another user")
    made = messages.draft(call.form, call.uploads, sandbox.world, edit=True)
    sandbox.keep(made)
    return payloads.message(sandbox.repost(messages.edit(sandbox.world, message, made)), sandbox.world)


@route("DELETE", MESSAGES + "/{message}")
def delete_message(call: Call) -> None:
    message = _message(call)
    del call.sandbox.world.messages[message.channel_id][message.id]
    call.sandbox.retract(message)


@route("POST", CHANNEL + "/typing")
def typing(call: Call) -> None:
    _channel(call)


def _channel(call: Call) -> Channel:
    found = call.sandbox.world.channels.get(call.path["channel"])
    if found is None:
        raise unknown("Channel")
    return found


def _message(call: Call) -> Message:
    """A message that the bot's token may see: ephemeral ones live behind their interaction's token."""
    found = call.sandbox.world.message(_channel(call).id, call.path["message"])
    if found is None or found.only_for is not None:
        raise unknown("Message")
    return found

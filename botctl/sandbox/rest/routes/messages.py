"""The messages of a channel (Discord: Message resource)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from botctl.sandbox.actions import moderation, posting
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import payloads, permission_bits, snowflakes
from botctl.sandbox.model.api_error import ApiError, FormErrors, dm_not_allowed, unknown, wrong_channel_type
from botctl.sandbox.model.channels.types import ANNOUNCEMENT
from botctl.sandbox.model.messages import drafts
from botctl.sandbox.model.messages.drafts import Draft
from botctl.sandbox.model.world import Channel, Message
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]
MESSAGES = "/channels/{channel}/messages"
MESSAGE = MESSAGES + "/{message}"
_REPLY, _FORWARD = 0, 1  # Discord: Message Reference Types
_CROSSPOSTED, _HAS_SNAPSHOT = 1 << 0, 1 << 14  # Discord: Message Flags
_BULK_COUNTS = range(2, 101)
_MAX_BULK_AGE = timedelta(days=14)
_MAX_NONCE_AGE = timedelta(minutes=5)  # Discord says "past few minutes"
_MAX_NONCE = 25  # characters


@route("GET", MESSAGES)
def list_messages(call: ApiCall) -> list[Json]:
    """Newest first; empty without READ_MESSAGE_HISTORY."""
    channel, world = access.get_channel(call), call.sandbox.world
    cursor = _parse_cursor(call)
    limit = call.limit(50, 100)
    if not access.permissions_in(call, channel) & permission_bits.HISTORY:
        return []
    messages = drafts.list_messages(world, channel.id, viewer="", limit=limit, **cursor)
    return [access.message_payload(call, message) for message in messages]


@route("GET", MESSAGE)
def get_message(call: ApiCall) -> Json:
    message = access.get_message(call, access.get_channel(call, "READ_MESSAGE_HISTORY"))
    return access.message_payload(call, message)


@route("POST", MESSAGES)
def create_message(call: ApiCall) -> Json:
    sandbox, channel, body = call.sandbox, access.get_channel(call), call.form
    draft, fields = parse_body(call, channel, body)
    access.require_permissions_in(
        call, channel, *posting.required_permissions(channel, draft, tts=fields.get("tts", False))
    )
    check_reachable(call, channel)
    if duplicate := _find_duplicate(call, channel, body):
        return access.message_payload(call, duplicate)
    message = posting.post(sandbox, channel, draft, call.app.id, granted=access.permissions_in(call, channel), **fields)
    return access.message_payload(call, message)


@route("PATCH", MESSAGE)
def edit_message(call: ApiCall) -> Json:
    """Edits the bot's own message; of another author's message only the flags, with MANAGE_MESSAGES."""
    channel = access.get_channel(call)
    message, form, granted = access.get_message(call, channel), call.form, access.permissions_in(call, channel)
    is_author = message.author_id == call.app.id and not message.webhook_id
    if not is_author and (set(form) - {"flags"} or not granted & permission_bits.BITS["MANAGE_MESSAGES"]):
        raise ApiError(403, 50005, "Cannot edit a message authored by another user")
    draft = drafts.parse_body(form, call.uploads, call.sandbox.world, old=message)
    if not granted & permission_bits.BITS["EMBED_LINKS"]:  # Discord ignores embeds here: no error, unlike a new message
        draft.fields.pop("embeds", None)
    posting.edit(call.sandbox, message, draft, granted=granted)
    return access.message_payload(call, message)


@route("DELETE", MESSAGE)
def delete_message(call: ApiCall) -> None:
    channel = access.get_channel(call)
    message = access.get_message(call, channel)
    by_other = message.author_id != call.app.id
    if by_other:
        _check_in_guild(channel)
        access.require_permissions_in(call, channel, "MANAGE_MESSAGES")
    posting.delete(call.sandbox, message, granted=access.permissions_in(call, channel))
    if by_other:
        options = {"channel_id": channel.id, "count": "1"}
        guild = call.sandbox.world.guilds[channel.guild_id]
        audit.write_entry(call, guild, AuditAction.MESSAGE_DELETE, message.author_id, options=options)


@route("POST", MESSAGES + "/bulk-delete")
def bulk_delete(call: ApiCall) -> None:
    """Messages may be two weeks old at most; unknown ids are ignored."""
    channel = access.get_channel(call, "MANAGE_MESSAGES")
    _check_in_guild(channel)
    errors = FormErrors()
    if "messages" not in call.form:
        errors.add(("messages",), "BASE_TYPE_REQUIRED", "This field is required")
    ids = errors.snowflakes((), call.form, "messages", 10_000)
    errors.check()
    if len(ids) not in _BULK_COUNTS:
        text = "Provided too few or too many messages to delete. Must provide at least 2 and fewer than 100"
        raise ApiError(400, 50016, f"{text} messages to delete")
    if min(map(int, ids)) < snowflakes.smallest_at(call.sandbox.clock.now() - _MAX_BULK_AGE):
        raise ApiError(400, 50034, "You can only bulk delete messages that are under 14 days old.")
    messages = [
        message
        for message_id in ids
        if (message := call.sandbox.world.message(channel.id, message_id)) and not message.only_for
    ]
    moderation.delete_messages(call.sandbox, channel, messages)
    guild = call.sandbox.world.guilds[channel.guild_id]
    audit.write_entry(call, guild, AuditAction.MESSAGE_BULK_DELETE, channel.id, options={"count": str(len(messages))})


@route("POST", MESSAGE + "/crosspost")
def crosspost(call: ApiCall) -> Json:
    channel = access.get_channel(call, "SEND_MESSAGES")
    message = access.get_message(call, channel)
    if channel.type != ANNOUNCEMENT:
        raise wrong_channel_type()
    if message.author_id != call.app.id:
        access.require_permissions_in(call, channel, "MANAGE_MESSAGES")
    if message.flags & _CROSSPOSTED:
        raise ApiError(400, 40033, "This message has already been crossposted.")
    message.flags |= _CROSSPOSTED
    return access.message_payload(call, call.sandbox.emit_message_update(message))


def check_reachable(call: ApiCall, channel: Channel) -> None:
    """Raises 50007 (cannot send) or 50278 (no common guild) for a DM whose recipient cannot be reached."""
    world = call.sandbox.world
    for recipient_id in channel.recipients:
        other = world.users[recipient_id]
        if recipient_id == call.app.id:
            continue
        if other.closed_dms or other.bot:
            raise ApiError(403, 50007, "Cannot send messages to this user")
        if not any({recipient_id, call.app.id} <= guild.members.keys() for guild in world.guilds.values()):
            raise ApiError(403, 50278, "Cannot send messages to this user due to having no mutual guilds")


def parse_body(call: ApiCall, channel: Channel, body: Json) -> tuple[Draft, Json]:
    """A new message's draft (its content and files), and the values of ``body`` for other attributes of `Message`."""
    errors, world = FormErrors(), call.sandbox.world
    reference = errors.field((), body, "message_reference", dict)
    fields: Json = {"tts": errors.field((), body, "tts", bool) or False, "nonce": _parse_nonce(errors, body)}
    kind = errors.choice(("message_reference",), reference, "type", (_REPLY, _FORWARD)) if reference else None
    target_id = errors.snowflake(("message_reference",), reference, "message_id") if reference else None
    if reference and not target_id:
        errors.add(("message_reference", "message_id"), "BASE_TYPE_REQUIRED", "This field is required")
    errors.check()
    draft = drafts.parse_body(body, call.uploads, world, allow_empty=kind == _FORWARD)
    if reference and target_id:
        read_reference = _parse_forward if kind == _FORWARD else _parse_reply
        fields |= read_reference(call, channel, reference, target_id)
        fields["flags"] = fields.get("flags", 0) | draft.flags & drafts.SETTABLE
    return draft, fields


def _parse_reply(call: ApiCall, channel: Channel, reference: Json, target_id: str) -> Json:
    location = {"channel_id": channel.id, "guild_id": channel.guild_id}
    if any(str(reference[name]) != value for name, value in location.items() if reference.get(name)):
        text = "Cannot reply to a message in a different channel"
        raise posting.invalid_reference("REPLIES_CANNOT_REFERENCE_OTHER_CHANNEL", text)
    granted = access.permissions_in(call, channel)
    if posting.check_reply(call.sandbox.world, channel, target_id, granted) is not None:
        return {"type": posting.REPLY, "reply_to": target_id}
    if reference.get("fail_if_not_exists", True):
        raise posting.invalid_reference("REPLIES_UNKNOWN_MESSAGE", "Unknown message")
    return {}


def _parse_forward(call: ApiCall, channel: Channel, reference: Json, target_id: str) -> Json:
    """A snapshot of a message in any channel that the bot can read."""
    world = call.sandbox.world
    source = world.channels.get(str(reference.get("channel_id") or channel.id))
    if source is None:
        raise unknown("Channel")
    access.require_permissions_in(call, source, "READ_MESSAGE_HISTORY")
    original = world.message(source.id, target_id)
    if original is None or original.only_for is not None:
        raise posting.invalid_reference("REPLIES_UNKNOWN_MESSAGE", "Unknown message")
    target: Json = {"type": _FORWARD, "message_id": original.id, "channel_id": source.id}
    target |= {"guild_id": source.guild_id} if source.guild_id else {}
    names = "type content mentions mention_roles attachments embeds timestamp edited_timestamp flags components"
    payload = payloads.message(original, world)
    return {
        "reference": target,
        "snapshots": [{"message": {name: payload[name] for name in names.split()}}],
        "flags": _HAS_SNAPSHOT,
    }


def _parse_cursor(call: ApiCall) -> dict[str, str]:
    """One of ``around``, ``before`` and ``after``: an id."""
    errors, query = FormErrors(), dict(call.query)
    ids = {name: errors.snowflake((), query, name) for name in ("around", "before", "after")}
    errors.check()
    return dict([(name, value) for name, value in ids.items() if value][:1])


def _parse_nonce(errors: FormErrors, body: Json) -> str | int | None:
    nonce = body.get("nonce")
    if isinstance(nonce, str):
        return errors.text((), body, "nonce", 0, _MAX_NONCE)
    if nonce is None or (isinstance(nonce, int) and not isinstance(nonce, bool)):
        return errors.number((), body, "nonce", -(2**63), 2**63 - 1)
    errors.add(("nonce",), "NONCE_TYPE_INVALID_TYPE", "This field must be a string or integer")
    return None


def _find_duplicate(call: ApiCall, channel: Channel, body: Json) -> Message | None:
    """With ``enforce_nonce``: the bot's recent message with the same nonce, if any."""
    if not body.get("enforce_nonce") or body.get("nonce") is None:
        return None
    since = snowflakes.smallest_at(call.sandbox.clock.now() - _MAX_NONCE_AGE)
    for message in reversed(call.sandbox.world.messages.get(channel.id, {}).values()):
        if int(message.id) < since:
            return None
        if message.author_id == call.app.id and str(message.nonce) == str(body["nonce"]):
            return message
    return None


def _check_in_guild(channel: Channel) -> None:
    if not channel.guild_id:
        raise dm_not_allowed()

"""The messages of a channel (Discord: Message resource)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from botctl.sandbox.actions import moderation, posting
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import payloads, permission_bits, snowflakes
from botctl.sandbox.model.api_error import ApiError, FormErrors, direct_channel, unknown, wrong_channel
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
_BULK = range(2, 101)
_BULK_AGE = timedelta(days=14)
_NONCE_AGE = timedelta(minutes=5)  # Discord says "past few minutes"
_NONCE_MAX = 25


@route("GET", MESSAGES)
def list_messages(call: ApiCall) -> list[Json]:
    """Newest first; none without the right to read the history."""
    channel, world = access.channel_of(call), call.sandbox.world
    places = _places(call)
    limit = call.limit(50, 100)
    if not access.may_in(call, channel) & permission_bits.HISTORY:
        return []
    found = drafts.list_messages(world, channel.id, viewer="", limit=limit, **places)
    return [access.shown(call, one) for one in found]


@route("GET", MESSAGE)
def get_message(call: ApiCall) -> Json:
    message = access.message_of(call, access.channel_of(call, "READ_MESSAGE_HISTORY"))
    return access.shown(call, message)


@route("POST", MESSAGES)
def create_message(call: ApiCall) -> Json:
    sandbox, channel, body = call.sandbox, access.channel_of(call), call.form
    made, fields = read(call, channel, body)
    access.need_in(call, channel, *posting.required_permissions(channel, made, tts=fields.get("tts", False)))
    check_reachable(call, channel)
    if twin := _twin(call, channel, body):
        return access.shown(call, twin)
    message = posting.post(sandbox, channel, made, call.app.id, granted=access.may_in(call, channel), **fields)
    return access.shown(call, message)


@route("PATCH", MESSAGE)
def edit_message(call: ApiCall) -> Json:
    """One's own; of others' only the flags, by those who manage messages."""
    channel = access.channel_of(call)
    message, form, may = access.message_of(call, channel), call.form, access.may_in(call, channel)
    own = message.author_id == call.app.id and not message.webhook_id
    if not own and (set(form) - {"flags"} or not may & permission_bits.BITS["MANAGE_MESSAGES"]):
        raise ApiError(403, 50005, "Cannot edit a message authored by another user")
    made = drafts.parse_body(form, call.uploads, call.sandbox.world, old=message)
    if not may & permission_bits.BITS["EMBED_LINKS"]:  # Discord passes over them, and refuses them in new messages only
        made.fields.pop("embeds", None)
    posting.edit(call.sandbox, message, made, granted=may)
    return access.shown(call, message)


@route("DELETE", MESSAGE)
def delete_message(call: ApiCall) -> None:
    channel = access.channel_of(call)
    message = access.message_of(call, channel)
    others = message.author_id != call.app.id
    if others:
        _no_direct(channel)
        access.need_in(call, channel, "MANAGE_MESSAGES")
    posting.delete(call.sandbox, message, granted=access.may_in(call, channel))
    if others:
        options = {"channel_id": channel.id, "count": "1"}
        guild = call.sandbox.world.guilds[channel.guild_id]
        audit.note(call, guild, AuditAction.MESSAGE_DELETE, message.author_id, options=options)


@route("POST", MESSAGES + "/bulk-delete")
def bulk_delete(call: ApiCall) -> None:
    """At once, and none that is older than two weeks; ids that do not exist are passed over."""
    channel = access.channel_of(call, "MANAGE_MESSAGES")
    _no_direct(channel)
    errors = FormErrors()
    if "messages" not in call.form:
        errors.add(("messages",), "BASE_TYPE_REQUIRED", "This field is required")
    ids = errors.snowflakes((), call.form, "messages", 10_000)
    errors.check()
    if len(ids) not in _BULK:
        words = "Provided too few or too many messages to delete. Must provide at least 2 and fewer than 100"
        raise ApiError(400, 50016, f"{words} messages to delete")
    if min(map(int, ids)) < snowflakes.smallest_at(call.sandbox.clock.now() - _BULK_AGE):
        raise ApiError(400, 50034, "You can only bulk delete messages that are under 14 days old.")
    there = [found for one in ids if (found := call.sandbox.world.message(channel.id, one)) and not found.only_for]
    moderation.delete_messages(call.sandbox, channel, there)
    guild = call.sandbox.world.guilds[channel.guild_id]
    audit.note(call, guild, AuditAction.MESSAGE_BULK_DELETE, channel.id, options={"count": str(len(there))})


@route("POST", MESSAGE + "/crosspost")
def crosspost(call: ApiCall) -> Json:
    channel = access.channel_of(call, "SEND_MESSAGES")
    message = access.message_of(call, channel)
    if channel.type != ANNOUNCEMENT:
        raise wrong_channel()
    if message.author_id != call.app.id:
        access.need_in(call, channel, "MANAGE_MESSAGES")
    if message.flags & _CROSSPOSTED:
        raise ApiError(400, 40033, "This message has already been crossposted.")
    message.flags |= _CROSSPOSTED
    return access.shown(call, call.sandbox.emit_message_update(message))


def check_reachable(call: ApiCall, channel: Channel) -> None:
    """Raises 50007 and 50278 for a DM whose other side does not hear the bot."""
    world = call.sandbox.world
    for one in channel.recipients:
        other = world.users[one]
        if one == call.app.id:
            continue
        if other.closed_dms or other.bot:
            raise ApiError(403, 50007, "Cannot send messages to this user")
        if not any({one, call.app.id} <= guild.members.keys() for guild in world.guilds.values()):
            raise ApiError(403, 50278, "Cannot send messages to this user due to having no mutual guilds")


def read(call: ApiCall, channel: Channel, body: Json) -> tuple[Draft, Json]:
    """What the body of a new message says: the draft, and what else it sets of a `Message`."""
    errors, world = FormErrors(), call.sandbox.world
    reference = errors.field((), body, "message_reference", dict)
    fields: Json = {"tts": errors.field((), body, "tts", bool) or False, "nonce": _nonce(errors, body)}
    kind = errors.choice(("message_reference",), reference, "type", (_REPLY, _FORWARD)) if reference else None
    target_id = errors.snowflake(("message_reference",), reference, "message_id") if reference else None
    if reference and not target_id:
        errors.add(("message_reference", "message_id"), "BASE_TYPE_REQUIRED", "This field is required")
    errors.check()
    made = drafts.parse_body(body, call.uploads, world, allow_empty=kind == _FORWARD)
    if reference and target_id:
        how = _forward if kind == _FORWARD else _reply
        fields |= how(call, channel, reference, target_id)
        fields["flags"] = fields.get("flags", 0) | made.flags & drafts.SETTABLE
    return made, fields


def _reply(call: ApiCall, channel: Channel, reference: Json, target_id: str) -> Json:
    where = {"channel_id": channel.id, "guild_id": channel.guild_id}
    if any(str(reference[name]) != here for name, here in where.items() if reference.get(name)):
        words = "Cannot reply to a message in a different channel"
        raise posting.invalid_reference("REPLIES_CANNOT_REFERENCE_OTHER_CHANNEL", words)
    may = access.may_in(call, channel)
    if posting.check_reply(call.sandbox.world, channel, target_id, may) is not None:
        return {"type": posting.REPLY, "reply_to": target_id}
    if reference.get("fail_if_not_exists", True):
        raise posting.invalid_reference("REPLIES_UNKNOWN_MESSAGE", "Unknown message")
    return {}


def _forward(call: ApiCall, channel: Channel, reference: Json, target_id: str) -> Json:
    """A message of any channel that the bot can read, as it was then."""
    world = call.sandbox.world
    source = world.channels.get(str(reference.get("channel_id") or channel.id))
    if source is None:
        raise unknown("Channel")
    access.need_in(call, source, "READ_MESSAGE_HISTORY")
    found = world.message(source.id, target_id)
    if found is None or found.only_for is not None:
        raise posting.invalid_reference("REPLIES_UNKNOWN_MESSAGE", "Unknown message")
    pointing: Json = {"type": _FORWARD, "message_id": found.id, "channel_id": source.id}
    pointing |= {"guild_id": source.guild_id} if source.guild_id else {}
    names = "type content mentions mention_roles attachments embeds timestamp edited_timestamp flags components"
    shown = payloads.message(found, world)
    return {
        "reference": pointing,
        "snapshots": [{"message": {name: shown[name] for name in names.split()}}],
        "flags": _HAS_SNAPSHOT,
    }


def _places(call: ApiCall) -> dict[str, str]:
    """One of ``around``, ``before`` and ``after``: an id."""
    errors, query = FormErrors(), dict(call.query)
    said = {name: errors.snowflake((), query, name) for name in ("around", "before", "after")}
    errors.check()
    return dict([(name, value) for name, value in said.items() if value][:1])


def _nonce(errors: FormErrors, body: Json) -> str | int | None:
    nonce = body.get("nonce")
    if isinstance(nonce, str):
        return errors.text((), body, "nonce", 0, _NONCE_MAX)
    if nonce is None or (isinstance(nonce, int) and not isinstance(nonce, bool)):
        return errors.number((), body, "nonce", -(2**63), 2**63 - 1)
    errors.add(("nonce",), "NONCE_TYPE_INVALID_TYPE", "This field must be a string or integer")
    return None


def _twin(call: ApiCall, channel: Channel, body: Json) -> Message | None:
    """With ``enforce_nonce``: the message that the bot has said already, with the same nonce."""
    if not body.get("enforce_nonce") or body.get("nonce") is None:
        return None
    since = snowflakes.smallest_at(call.sandbox.clock.now() - _NONCE_AGE)
    for one in reversed(call.sandbox.world.messages.get(channel.id, {}).values()):
        if int(one.id) < since:
            return None
        if one.author_id == call.app.id and str(one.nonce) == str(body["nonce"]):
            return one
    return None


def _no_direct(channel: Channel) -> None:
    if not channel.guild_id:
        raise direct_channel()

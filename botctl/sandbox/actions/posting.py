"""Creating, editing and deleting messages, for bots and people. ``granted``: the author's permission bits."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.actions import threads
from botctl.sandbox.model import payloads, permission_bits
from botctl.sandbox.model.api_error import ApiError, system_message_not_allowed
from botctl.sandbox.model.channels.types import CATEGORY, DIRECTORY, FORUM, MEDIA
from botctl.sandbox.model.messages import drafts
from botctl.sandbox.model.messages.drafts import Draft
from botctl.sandbox.model.world import Channel, Message, World
from botctl.sandbox.sandbox import Sandbox

Json = dict[str, Any]
_TYPES_WITHOUT_MESSAGES = frozenset({CATEGORY, DIRECTORY, FORUM, MEDIA})
REPLY = 19  # Discord: Message resource > Message Types
# The other types are system messages (Discord: Message Types > Deletable).
DELETABLE_TYPES = frozenset({0, 6, 7, 8, 9, 10, 11, 12, 18, 19, 20, 22, 23, 24, 25, 26, 27, 28, 29, 31, 32, 46})
_REPLYABLE_TYPES = frozenset({0, 19, 20, 23})  # message types


def required_permissions(channel: Channel, draft: Draft, *, tts: bool = False) -> list[str]:
    """The names of the permissions for sending ``draft`` in ``channel``. Raises 50008 (no text channel)."""
    if channel.type in _TYPES_WITHOUT_MESSAGES:
        raise ApiError(400, 50008, "Cannot send messages in a non-text channel")
    wanted = {
        "SEND_MESSAGES_IN_THREADS" if channel.thread else "SEND_MESSAGES": True,
        "EMBED_LINKS": bool(draft.fields.get("embeds")),
        "ATTACH_FILES": bool(draft.uploads),
        "SEND_TTS_MESSAGES": tts,
    }
    return [name for name, really in wanted.items() if really]


def check_reply(world: World, channel: Channel, message_id: str, granted: int) -> Message | None:
    """The message to reply to; None: unknown or ephemeral. Raises 160002 (not allowed to read it), 50035 (its type)."""
    if not granted & permission_bits.HISTORY:
        raise ApiError(403, 160002, "Cannot reply without permission to read message history")
    message = world.message(channel.id, message_id)
    if message is not None and message.type not in _REPLYABLE_TYPES:
        message_text = "Cannot reply to a system message"
        raise invalid_reference("REPLIES_CANNOT_REPLY_TO_SYSTEM_MESSAGE", message_text)
    return message if message is None or message.only_for is None else None


def invalid_reference(code: str, message_text: str) -> ApiError:
    """50035 (invalid body) for the field ``message_reference``."""
    return ApiError(
        400, 50035, "Invalid Form Body", {"message_reference": {"_errors": [{"code": code, "message": message_text}]}}
    )


def post(sandbox: Sandbox, channel: Channel, draft: Draft, author_id: str, *, granted: int, **fields: Any) -> Message:
    """Create a message; in a thread, unarchive it (raises 160005 when it is locked) and let the author join.

    ``fields``: more fields of `Message`.
    """
    threads.unarchive(sandbox, channel, granted=granted)
    sandbox.store_uploads(draft)
    if channel.thread is not None and author_id in sandbox.world.guilds[channel.guild_id].members:
        threads.join(sandbox, channel, author_id)
    fields.setdefault("flags", draft.flags & drafts.SETTABLE)
    return sandbox.emit_message_create(
        drafts.create(
            sandbox.world, draft, channel_id=channel.id, guild_id=channel.guild_id, author_id=author_id, **fields
        )
    )


def edit(sandbox: Sandbox, message: Message, draft: Draft, *, granted: int) -> Message:
    """Change a message. Raises 50083 in an archived thread, 160005 in a locked one."""
    channel = sandbox.world.channels[message.channel_id]
    threads.check_not_archived(channel)
    threads.check_unlocked(channel, granted=granted)
    sandbox.store_uploads(draft)
    return sandbox.emit_message_update(drafts.edit(sandbox.world, message, draft))


def delete(sandbox: Sandbox, message: Message, *, granted: int) -> None:
    """Raises 50021 for a system message, 160005 in an archived thread that is locked (Discord: Threads)."""
    channel = sandbox.world.channels[message.channel_id]
    if channel.thread is not None and channel.thread.archived:
        threads.check_unlocked(channel, granted=granted)
    if message.type not in DELETABLE_TYPES:
        raise system_message_not_allowed()
    sandbox.world.remove_message(message)
    sandbox.emit_message_delete(message)


def start_typing(sandbox: Sandbox, channel: Channel, user_id: str) -> None:
    """Discord: Gateway Events > Typing Start."""
    world = sandbox.world
    event: Json = {"channel_id": channel.id, "user_id": user_id, "timestamp": int(world.clock.now().timestamp())}
    if channel.guild_id:
        event["guild_id"] = channel.guild_id
        if member := world.guilds[channel.guild_id].members.get(user_id):
            event["member"] = payloads.member(member, world)
    sandbox.emit("TYPING_START", event, channel.guild_id or None, channel=channel)

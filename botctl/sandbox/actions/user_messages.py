"""What users do in a channel without commands: send, edit and delete messages, react, type.

ClientRejected: Discord's client would not allow it; the text is a sentence for the user.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from botctl.core.errors import UsageError
from botctl.sandbox.actions import audit_log, posting, reactions
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import permission_bits, permissions, snowflakes
from botctl.sandbox.model.acting_user import ActingUser
from botctl.sandbox.model.api_error import ApiError
from botctl.sandbox.model.commands.options import ClientRejected
from botctl.sandbox.model.messages import drafts
from botctl.sandbox.model.world import GuildAuditEntry, Message
from botctl.sandbox.sandbox import Sandbox

Json = dict[str, Any]
T = TypeVar("T")
_BYPASS_SLOWMODE = permission_bits.bits("BYPASS_SLOWMODE")


def send(sandbox: Sandbox, actor: ActingUser, text: str, *, reply_to: str | None = None) -> Message:
    """Send ``text``, as a reply to the message ``reply_to`` if given."""
    granted = _check_may_send(sandbox, actor)
    draft = drafts.parse_body({"content": text}, [], sandbox.world)
    fields: Json = {}
    if reply_to is not None:
        referenced_id = find_message(sandbox, actor, reply_to).id
        _as_client_rejection(lambda: posting.check_reply(sandbox.world, actor.channel, referenced_id, granted))
        fields = {"type": posting.REPLY, "reply_to": referenced_id}
    return _as_client_rejection(
        lambda: posting.post(sandbox, actor.channel, draft, actor.user.id, granted=granted, **fields)
    )


def edit(sandbox: Sandbox, actor: ActingUser, text: str, message_id: str | None = None) -> Message:
    """Edit the user's newest message, or ``message_id``."""
    message = find_message(sandbox, actor, message_id, own=True)
    if message.author_id != actor.user.id:
        raise ClientRejected(f"{actor.user.name} can only edit their own messages.")
    draft = drafts.parse_body({"content": text}, [], sandbox.world, old=message)
    return _as_client_rejection(lambda: posting.edit(sandbox, message, draft, granted=actor.permissions(sandbox.world)))


def delete(sandbox: Sandbox, actor: ActingUser, message_id: str | None = None) -> Message:
    """Delete a message, or hide an ephemeral one. For others' messages the user needs MANAGE_MESSAGES."""
    message = find_message(sandbox, actor, message_id, own=True)
    others = message.author_id != actor.user.id and message.only_for is None
    if others and (
        actor.guild is None or not actor.permissions(sandbox.world) & permission_bits.BITS["MANAGE_MESSAGES"]
    ):
        raise ClientRejected(f"{actor.user.name} may not delete other users' messages {actor.location}.")
    _as_client_rejection(lambda: posting.delete(sandbox, message, granted=actor.permissions(sandbox.world)))
    if others and actor.guild is not None:
        options = {"channel_id": actor.channel.id, "count": "1"}
        entry = GuildAuditEntry(
            sandbox.world.new_id(), actor.user.id, AuditAction.MESSAGE_DELETE, message.author_id, options=options
        )
        audit_log.record(sandbox, actor.guild, entry)
    return message


def react(
    sandbox: Sandbox, actor: ActingUser, emoji: str, message_id: str | None = None, *, remove: bool = False
) -> Message:
    """Add (or ``remove``) a reaction to the newest message, or to ``message_id``."""
    message, granted = find_message(sandbox, actor, message_id), actor.permissions(sandbox.world)
    _check_timeout(sandbox, actor)

    def act() -> None:
        key = reactions.parse_emoji(sandbox.world, emoji, actor.channel.guild_id, granted)
        if remove:
            reactions.remove(sandbox, message, actor.user.id, key)
        else:
            reactions.add(sandbox, message, actor.user.id, key, granted=granted)

    _as_client_rejection(act)
    return message


def start_typing(sandbox: Sandbox, actor: ActingUser) -> None:
    _check_may_send(sandbox, actor)
    posting.start_typing(sandbox, actor.channel, actor.user.id)


def find_message(sandbox: Sandbox, actor: ActingUser, message_id: str | None, *, own: bool = False) -> Message:
    """The message with that id, or the newest one that the user sees; with ``own`` only the user's messages."""
    messages = (
        sandbox.world.messages.get(actor.channel.id, {}).values()
        if actor.permissions(sandbox.world) & permission_bits.VIEW
        else ()
    )
    visible = [message for message in messages if message.only_for in (None, actor.user.id)]
    for message in reversed(visible):
        if message.id == message_id or (
            message_id in (None, "last") and (not own or message.author_id == actor.user.id)
        ):
            return message
    raise UsageError(f"There is no such message {actor.location}.")


def _check_may_send(sandbox: Sandbox, actor: ActingUser) -> int:
    """The user's permissions in the channel. Raises ClientRejected when they may not send now."""
    world, channel = sandbox.world, actor.channel
    if actor.guild is None:
        _check_dm_allowed(sandbox, actor)
        return permission_bits.DIRECT
    _check_timeout(sandbox, actor)
    granted = actor.permissions(world)
    if not granted & permission_bits.VIEW:
        raise ClientRejected(f"{actor.user.name} does not see #{channel.name}.")
    wanted = _as_client_rejection(lambda: posting.required_permissions(channel, drafts.Draft()))
    if any(not granted & permission_bits.BITS[name] for name in wanted):
        raise ClientRejected(f"{actor.user.name} may not send messages in #{channel.name}.")
    if channel.slowmode_s and not granted & _BYPASS_SLOWMODE:
        _check_slow_mode(sandbox, actor)
    return granted


def _check_timeout(sandbox: Sandbox, actor: ActingUser) -> None:
    member, world = actor.member, sandbox.world
    if actor.guild is None or member is None or not permissions.is_timed_out(world, member):
        return
    if permissions.compute(world, actor.guild, member) != permission_bits.ALL:
        raise ClientRejected(
            f"{actor.user.name} is timed out until {member.timeout_until} and cannot send messages or react."
        )


def _check_dm_allowed(sandbox: Sandbox, actor: ActingUser) -> None:
    for user_id in actor.channel.recipients:
        other = sandbox.world.users[user_id]
        if user_id != actor.user.id and other.closed_dms:
            raise ClientRejected(f"{other.name} does not accept direct messages.")


def _check_slow_mode(sandbox: Sandbox, actor: ActingUser) -> None:
    messages = sandbox.world.messages.get(actor.channel.id, {}).values()
    last = next((message for message in reversed(messages) if message.author_id == actor.user.id), None)
    if last is None:
        return
    passed_s = sandbox.clock.now().timestamp() - snowflakes.created_s(last.id)
    if passed_s < actor.channel.slowmode_s:
        rest_s = actor.channel.slowmode_s - passed_s
        raise ClientRejected(
            f"#{actor.channel.name} is in slow mode: {actor.user.name} may send again in {rest_s:.0f} s."
        )


def _as_client_rejection(act: Callable[[], T]) -> T:
    """Call ``act``; an ApiError becomes a ClientRejected."""
    try:
        return act()
    except ApiError as refusal:
        raise ClientRejected(f"{refusal.message.rstrip('.')}.") from None

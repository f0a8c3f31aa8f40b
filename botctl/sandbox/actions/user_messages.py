"""What people do in a channel besides using commands: they speak, answer, change and delete what they said, react.

Discord's client would not let them do what they may not: that is a `options.Wrong`, a sentence for the person.
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
from botctl.sandbox.server import Sandbox

Json = dict[str, Any]
T = TypeVar("T")
_BYPASS_SLOWMODE = permission_bits.bits("BYPASS_SLOWMODE")


def send(sandbox: Sandbox, who: ActingUser, text: str, *, reply_to: str | None = None) -> Message:
    """Say ``text``, in answer to the message ``reply_to`` if given."""
    may = _check_may_send(sandbox, who)
    made = drafts.parse_body({"content": text}, [], sandbox.world)
    more: Json = {}
    if reply_to is not None:
        answered = find_message(sandbox, who, reply_to).id
        _as_client_rejection(lambda: posting.check_reply(sandbox.world, who.channel, answered, may))
        more = {"type": posting.REPLY, "reply_to": answered}
    return _as_client_rejection(lambda: posting.post(sandbox, who.channel, made, who.user.id, may=may, **more))


def edit(sandbox: Sandbox, who: ActingUser, text: str, message_id: str | None = None) -> Message:
    """Change an own message: the newest one, or ``message_id``."""
    message = find_message(sandbox, who, message_id, own=True)
    if message.author_id != who.user.id:
        raise ClientRejected(f"{who.user.name} can change only what they said themselves.")
    made = drafts.parse_body({"content": text}, [], sandbox.world, old=message)
    return _as_client_rejection(lambda: posting.edit(sandbox, message, made, may=who.may(sandbox.world)))


def delete(sandbox: Sandbox, who: ActingUser, message_id: str | None = None) -> Message:
    """Delete an own message, or, who manages messages, anybody's; what only they see is dismissed."""
    message = find_message(sandbox, who, message_id, own=True)
    others = message.author_id != who.user.id and message.only_for is None
    if others and (who.guild is None or not who.may(sandbox.world) & permission_bits.BITS["MANAGE_MESSAGES"]):
        raise ClientRejected(f"{who.user.name} may not delete messages of others {who.place}.")
    _as_client_rejection(lambda: posting.delete(sandbox, message, may=who.may(sandbox.world)))
    if others and who.guild is not None:
        options = {"channel_id": who.channel.id, "count": "1"}
        entry = GuildAuditEntry(
            sandbox.world.new_id(), who.user.id, AuditAction.MESSAGE_DELETE, message.author_id, options=options
        )
        audit_log.record(sandbox, who.guild, entry)
    return message


def react(
    sandbox: Sandbox, who: ActingUser, emoji: str, message_id: str | None = None, *, remove: bool = False
) -> Message:
    """Give the newest message, or ``message_id``, a reaction; with ``remove`` take it back."""
    message, may = find_message(sandbox, who, message_id), who.may(sandbox.world)
    _check_timeout(sandbox, who)

    def act() -> None:
        key = reactions.parse_emoji(sandbox.world, emoji, who.channel.guild_id, may)
        if remove:
            reactions.remove(sandbox, message, who.user.id, key)
        else:
            reactions.add(sandbox, message, who.user.id, key, may=may)

    _as_client_rejection(act)
    return message


def start_typing(sandbox: Sandbox, who: ActingUser) -> None:
    _check_may_send(sandbox, who)
    posting.start_typing(sandbox, who.channel, who.user.id)


def find_message(sandbox: Sandbox, who: ActingUser, message_id: str | None, *, own: bool = False) -> Message:
    """The message with that id, or the newest one (an ``own`` one) that the person sees in the channel."""
    there = (
        sandbox.world.messages.get(who.channel.id, {}).values() if who.may(sandbox.world) & permission_bits.VIEW else ()
    )
    shown = [one for one in there if one.only_for in (None, who.user.id)]
    for one in reversed(shown):
        if one.id == message_id or (message_id in (None, "last") and (not own or one.author_id == who.user.id)):
            return one
    raise UsageError(f"There is no such message {who.place}.")


def _check_may_send(sandbox: Sandbox, who: ActingUser) -> int:
    """The person's permissions in the channel, where they may speak now."""
    world, channel = sandbox.world, who.channel
    if who.guild is None:
        _check_reachable(sandbox, who)
        return permission_bits.DIRECT
    _check_timeout(sandbox, who)
    may = who.may(world)
    if not may & permission_bits.VIEW:
        raise ClientRejected(f"{who.user.name} does not see #{channel.name}.")
    wanted = _as_client_rejection(lambda: posting.required_permissions(channel, drafts.Draft()))
    if any(not may & permission_bits.BITS[one] for one in wanted):
        raise ClientRejected(f"{who.user.name} may not send messages in #{channel.name}.")
    if channel.slowmode_s and not may & _BYPASS_SLOWMODE:
        _check_slow_mode(sandbox, who)
    return may


def _check_timeout(sandbox: Sandbox, who: ActingUser) -> None:
    member, world = who.member, sandbox.world
    if who.guild is None or member is None or not permissions.is_timed_out(world, member):
        return
    if permissions.compute(world, who.guild, member) != permission_bits.ALL:
        raise ClientRejected(f"{who.user.name} is timed out until {member.timeout_until}, and cannot speak or react.")


def _check_reachable(sandbox: Sandbox, who: ActingUser) -> None:
    for one in who.channel.recipients:
        other = sandbox.world.users[one]
        if one != who.user.id and other.closed_dms:
            raise ClientRejected(f"{other.name} takes no direct messages.")


def _check_slow_mode(sandbox: Sandbox, who: ActingUser) -> None:
    """In slow mode one message may follow another only so much later."""
    said = sandbox.world.messages.get(who.channel.id, {}).values()
    last = next((one for one in reversed(said) if one.author_id == who.user.id), None)
    if last is None:
        return
    passed_s = sandbox.clock.now().timestamp() - snowflakes.created_s(last.id)
    if passed_s < who.channel.slowmode_s:
        rest_s = who.channel.slowmode_s - passed_s
        raise ClientRejected(f"#{who.channel.name} is in slow mode: {who.user.name} may speak again in {rest_s:.0f} s.")


def _as_client_rejection(act: Callable[[], T]) -> T:
    """What Discord would refuse, the client says in words."""
    try:
        return act()
    except ApiError as refusal:
        raise ClientRejected(f"{refusal.message.rstrip('.')}.") from None

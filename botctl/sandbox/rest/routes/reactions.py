"""Reactions to messages (Discord: Message resource > Create Reaction and the like)."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.actions import reactions
from botctl.sandbox.model import payloads, permission_bits
from botctl.sandbox.model.api_error import FormErrors, unknown
from botctl.sandbox.model.world import Channel, Message
from botctl.sandbox.rest import access
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]
REACTIONS = "/channels/{channel}/messages/{message}/reactions"
OF_EMOJI = REACTIONS + "/{emoji}"


@route("PUT", OF_EMOJI + "/@me")
def add(call: ApiCall) -> None:
    channel, message = _get_message(call)
    granted = access.permissions_in(call, channel)
    reactions.add(call.sandbox, message, call.app.id, _parse_emoji(call, channel, granted), granted=granted)


@route("DELETE", OF_EMOJI + "/@me")
def remove_own(call: ApiCall) -> None:
    channel, message = _get_message(call)
    reactions.remove(call.sandbox, message, call.app.id, _parse_emoji(call, channel))


@route("DELETE", OF_EMOJI + "/{user}")
def remove(call: ApiCall) -> None:
    channel, message = _get_message(call, "MANAGE_MESSAGES")
    if call.path["user"] not in call.sandbox.world.users:
        raise unknown("User")
    reactions.remove(call.sandbox, message, call.path["user"], _parse_emoji(call, channel))


@route("GET", OF_EMOJI)
def list_users(call: ApiCall) -> list[Json]:
    """The users who reacted, sorted by id. ``after`` is a user id."""
    channel, message = _get_message(call, "READ_MESSAGE_HISTORY")
    errors, query, limit = FormErrors(), dict(call.query), call.limit(25, 100)
    after = errors.snowflake((), query, "after")
    errors.check()
    given = sorted(
        (
            user_id
            for user_id in message.reactions.get(_parse_emoji(call, channel), [])
            if int(user_id) > int(after or 0)
        ),
        key=int,
    )
    return [payloads.user(call.sandbox.world.users[user_id]) for user_id in given[:limit]]


@route("DELETE", REACTIONS)
def clear(call: ApiCall) -> None:
    _, message = _get_message(call, "MANAGE_MESSAGES")
    reactions.clear(call.sandbox, message)


@route("DELETE", OF_EMOJI)
def clear_emoji(call: ApiCall) -> None:
    channel, message = _get_message(call, "MANAGE_MESSAGES")
    reactions.clear(call.sandbox, message, _parse_emoji(call, channel))


def _get_message(call: ApiCall, *names: str) -> tuple[Channel, Message]:
    channel = access.get_channel(call, *names)
    return channel, access.get_message(call, channel)


def _parse_emoji(call: ApiCall, channel: Channel, granted: int = permission_bits.ALL) -> str:
    """``granted``: the bot's permissions in the channel, which decide about emoji of other guilds."""
    return reactions.parse_emoji(call.sandbox.world, call.path["emoji"], channel.guild_id, granted)

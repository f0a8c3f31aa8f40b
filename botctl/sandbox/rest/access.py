"""Look up the guild, channel or member in a request's path and check the bot's permissions there.

Discord: Reference > JSON Error Codes: 10003, 10004, 10007, 10008, 10011 and 10013 for unknown objects, 20012 for the
application of another bot, 50001 for channels that the bot cannot see, 50013 for missing permissions.
"""

from __future__ import annotations

from typing import Any

from botctl.sandbox.model import payloads, permission_bits, permissions
from botctl.sandbox.model.api_error import ApiError, missing_access, missing_permissions, unknown
from botctl.sandbox.model.gateway.opcodes import MESSAGE_CONTENT, PRIVILEGED
from botctl.sandbox.model.messages import content_intent
from botctl.sandbox.model.world import Channel, Guild, Member, Message, Role
from botctl.sandbox.rest.routing import ApiCall


def require_own_application(call: ApiCall) -> None:
    """Raises 20012 when the path names an application that is not the bot's own."""
    if call.path.get("application", "@me") not in ("@me", call.app.id):
        raise ApiError(403, 20012, "You are not authorized to perform this action on this application")


def get_guild(call: ApiCall, *names: str) -> Guild:
    """The guild of the path; raises 10004, and 50013 when the bot lacks one of the permissions ``names``."""
    guild = call.sandbox.world.guilds.get(call.path["guild"])
    if guild is None or call.app.id not in guild.members:
        raise unknown("Guild")
    require_permissions(call, guild, *names)
    return guild


def own_member(call: ApiCall, guild: Guild) -> Member:
    """The bot's own membership."""
    return guild.members[call.app.id]


def require_permissions(call: ApiCall, guild: Guild, *names: str) -> None:
    """Raises 50013 unless the bot has the permissions ``names`` in the guild as a whole."""
    required = permission_bits.bits(*names)
    if permissions.compute(call.sandbox.world, guild, own_member(call, guild)) & required != required:
        raise missing_permissions()


def get_channel(call: ApiCall, *names: str) -> Channel:
    """The channel, thread or DM of the path; raises 10003, and 50001 or 50013 without the permissions ``names``."""
    channel = call.sandbox.world.channels.get(call.path["channel"])
    if channel is None:
        raise unknown("Channel")
    require_permissions_in(call, channel, *names)
    return channel


def require_permissions_in(call: ApiCall, channel: Channel, *names: str) -> None:
    """Raises 50001 when the bot does not see ``channel``, and 50013 when it lacks one of ``names`` there."""
    granted, required = permissions_in(call, channel), permission_bits.bits(*names)
    if not granted & permission_bits.VIEW:
        raise missing_access()
    if granted & required != required:
        raise missing_permissions()


def permissions_in(call: ApiCall, channel: Channel) -> int:
    """The bot's permissions in ``channel``; 0 when the bot is not there."""
    world = call.sandbox.world
    if not channel.guild_id:
        return permission_bits.DIRECT if call.app.id in channel.recipients else 0
    guild = world.guilds[channel.guild_id]
    bot = guild.members.get(call.app.id)
    return permissions.compute(world, guild, bot, channel) if bot else 0


def get_member(call: ApiCall, guild: Guild) -> Member:
    """The member of the path (``@me`` is the bot); raises 10007, and 10013 when there is no such user."""
    user_id = call.path["user"]
    member = guild.members.get(call.app.id if user_id == "@me" else user_id)
    if member is None:
        raise unknown("Member" if user_id in call.sandbox.world.users else "User")
    return member


def get_role(call: ApiCall, guild: Guild) -> Role:
    """The role of the path; raises 10011."""
    role = guild.roles.get(call.path["role"])
    if role is None:
        raise unknown("Role")
    return role


def get_message(call: ApiCall, channel: Channel) -> Message:
    """The message of the path; raises 10008. An ephemeral message is found only with its interaction's token."""
    message = call.sandbox.world.message(channel.id, call.path["message"])
    if message is None or message.only_for is not None:
        raise unknown("Message")
    return message


def require_intent(call: ApiCall, intent: int) -> None:
    """Raises 50001 unless the application has the privileged ``intent``."""
    if not has_intent(call, intent):
        raise missing_access()


def has_intent(call: ApiCall, intent: int) -> bool:
    return bool(call.app.flags & PRIVILEGED[intent])


def message_payload(call: ApiCall, message: Message) -> dict[str, Any]:
    """A message as the bot may read it (Discord: Gateway > Message Content Intent; it applies to REST too)."""
    payload = payloads.message(message, call.sandbox.world, viewer=call.app.id)
    if not message.guild_id or has_intent(call, MESSAGE_CONTENT):
        return payload
    return content_intent.without_intent(payload, call.app.id)


def require_above(call: ApiCall, guild: Guild, position: int) -> None:
    """Raises 50013 unless the bot's highest role is above ``position``."""
    if not permissions.is_above(guild, own_member(call, guild), position):
        raise missing_permissions()


def require_outranks(call: ApiCall, guild: Guild, other: Member) -> None:
    """Raises 50013 unless the role hierarchy lets the bot act on ``other``."""
    if not permissions.outranks(guild, own_member(call, guild), other):
        raise missing_permissions()

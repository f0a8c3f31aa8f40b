"""What a bot may reach over REST: the guild, channel or member that a path names, and the permissions it needs there.

Discord: Reference > JSON Error Codes: 10004 and the like for what does not exist, 50001 for what the bot cannot see,
50013 for what it may not do.
"""

from __future__ import annotations

from typing import Any

from botctl.sandbox.model import payloads, permission_bits, permissions
from botctl.sandbox.model.api_error import ApiError, missing_access, missing_permissions, unknown
from botctl.sandbox.model.gateway.opcodes import MESSAGE_CONTENT, PRIVILEGED
from botctl.sandbox.model.messages import content_intent
from botctl.sandbox.model.world import Channel, Guild, Member, Message, Role
from botctl.sandbox.rest.routing import ApiCall


def own_application(call: ApiCall) -> None:
    """Raises 20012 when the path names an application that is not the bot's own."""
    if call.path.get("application", "@me") not in ("@me", call.app.id):
        raise ApiError(403, 20012, "You are not authorized to perform this action on this application")


def guild_of(call: ApiCall, *names: str) -> Guild:
    """The guild of the path, in which the bot has the permissions ``names``; raises 10004, 50013."""
    guild = call.sandbox.world.guilds.get(call.path["guild"])
    if guild is None or call.app.id not in guild.members:
        raise unknown("Guild")
    need(call, guild, *names)
    return guild


def me(call: ApiCall, guild: Guild) -> Member:
    """The bot's own membership."""
    return guild.members[call.app.id]


def need(call: ApiCall, guild: Guild, *names: str) -> None:
    """Raises 50013 unless the bot has the permissions ``names`` in the guild as a whole."""
    wanted = permission_bits.bits(*names)
    if permissions.compute(call.sandbox.world, guild, me(call, guild)) & wanted != wanted:
        raise missing_permissions()


def channel_of(call: ApiCall, *names: str) -> Channel:
    """The channel, thread or DM of the path, in which the bot may do ``names``; raises 10003, 50001, 50013."""
    channel = call.sandbox.world.channels.get(call.path["channel"])
    if channel is None:
        raise unknown("Channel")
    need_in(call, channel, *names)
    return channel


def need_in(call: ApiCall, channel: Channel, *names: str) -> None:
    """Raises 50001 when the bot does not see ``channel``, and 50013 when it lacks one of ``names`` there."""
    may, wanted = may_in(call, channel), permission_bits.bits(*names)
    if not may & permission_bits.VIEW:
        raise missing_access()
    if may & wanted != wanted:
        raise missing_permissions()


def may_in(call: ApiCall, channel: Channel) -> int:
    """The bot's permissions in ``channel``; 0 when it cannot see it."""
    world = call.sandbox.world
    if not channel.guild_id:
        return permission_bits.DIRECT if call.app.id in channel.recipients else 0
    guild = world.guilds[channel.guild_id]
    bot = guild.members.get(call.app.id)
    return permissions.compute(world, guild, bot, channel) if bot else 0


def member_of(call: ApiCall, guild: Guild) -> Member:
    """The member of the path (``@me`` is the bot); raises 10007, and 10013 for a user that nobody is."""
    user_id = call.path["user"]
    found = guild.members.get(call.app.id if user_id == "@me" else user_id)
    if found is None:
        raise unknown("Member" if user_id in call.sandbox.world.users else "User")
    return found


def role_of(call: ApiCall, guild: Guild) -> Role:
    """The role of the path; raises 10011."""
    found = guild.roles.get(call.path["role"])
    if found is None:
        raise unknown("Role")
    return found


def message_of(call: ApiCall, channel: Channel) -> Message:
    """The message of the path, as a bot's token may see it (ephemeral ones live behind their interaction's token);
    raises 10008.
    """
    found = call.sandbox.world.message(channel.id, call.path["message"])
    if found is None or found.only_for is not None:
        raise unknown("Message")
    return found


def need_intent(call: ApiCall, intent: int) -> None:
    """Raises 50001 unless the application has the privileged ``intent``."""
    if not has_intent(call, intent):
        raise missing_access()


def has_intent(call: ApiCall, intent: int) -> bool:
    return bool(call.app.flags & PRIVILEGED[intent])


def shown(call: ApiCall, message: Message) -> dict[str, Any]:
    """A message as the bot may read it (Discord: Gateway > Message Content Intent, which holds for REST too)."""
    whole = payloads.message(message, call.sandbox.world, viewer=call.app.id)
    if not message.guild_id or has_intent(call, MESSAGE_CONTENT):
        return whole
    return content_intent.without_intent(whole, call.app.id)


def above(call: ApiCall, guild: Guild, position: int) -> None:
    """Raises 50013 unless the bot's highest role stands above ``position``."""
    if not permissions.is_above(guild, me(call, guild), position):
        raise missing_permissions()


def outranks(call: ApiCall, guild: Guild, other: Member) -> None:
    """Raises 50013 unless the hierarchy of roles lets the bot act on ``other``."""
    if not permissions.outranks(guild, me(call, guild), other):
        raise missing_permissions()

"""Changes to a guild's members, roles and overwrites. The caller checks permissions and writes the audit log."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from botctl.sandbox.actions import threads
from botctl.sandbox.model import payloads, permission_bits, permissions
from botctl.sandbox.model.world import Channel, Guild, Member, Message, Overwrite, Role, World, discord_time
from botctl.sandbox.sandbox import Sandbox

Json = dict[str, Any]
_BAN_EVENT_PERMISSIONS = permission_bits.bits(
    "BAN_MEMBERS", "VIEW_AUDIT_LOG"
)  # Discord: Gateway Events > Guild Ban Add
TIMEOUT_MAX = timedelta(days=28)  # Discord: Modify Guild Member


def remove_member(sandbox: Sandbox, guild: Guild, member: Member) -> None:
    """Remove ``member`` from the guild; for a bot, also the role that is its own (managed)."""
    del guild.members[member.user_id]
    for thread in guild.threads.values():
        thread.thread_members.pop(member.user_id, None)
    if member.user_id in sandbox.world.applications:
        sandbox.emit("GUILD_DELETE", {"id": guild.id}, guild.id, application_id=member.user_id)
        for role in [role for role in guild.roles.values() if role.bot_id == member.user_id]:
            delete_role(sandbox, guild, role)
    event = {"guild_id": guild.id, "user": payloads.user(sandbox.world.users[member.user_id])}
    sandbox.emit("GUILD_MEMBER_REMOVE", event, guild.id)
    sandbox.changed()


def add_bot(sandbox: Sandbox, guild: Guild, bot: Member) -> None:
    sandbox.emit("GUILD_MEMBER_ADD", {**payloads.member(bot, sandbox.world), "guild_id": guild.id}, guild.id)
    guild.members[bot.user_id] = bot
    sandbox.emit_guild_create(guild, bot.user_id)


def ban(sandbox: Sandbox, guild: Guild, user_id: str, reason: str | None, delete_s: int = 0) -> None:
    """Ban ``user_id``, and delete their messages of the last ``delete_s`` seconds."""
    world = sandbox.world
    guild.bans[user_id] = reason
    event = {"guild_id": guild.id, "user": payloads.user(world.users[user_id])}
    sandbox.emit("GUILD_BAN_ADD", event, guild.id, required_permissions=_BAN_EVENT_PERMISSIONS)
    if member := guild.members.get(user_id):
        remove_member(sandbox, guild, member)
    if delete_s:
        _delete_messages_since(sandbox, guild, user_id, discord_time(world.clock.now() - timedelta(seconds=delete_s)))
    sandbox.changed()


def unban(sandbox: Sandbox, guild: Guild, user_id: str) -> None:
    del guild.bans[user_id]
    event = {"guild_id": guild.id, "user": payloads.user(sandbox.world.users[user_id])}
    sandbox.emit("GUILD_BAN_REMOVE", event, guild.id, required_permissions=_BAN_EVENT_PERMISSIONS)
    sandbox.changed()


def delete_role(sandbox: Sandbox, guild: Guild, role: Role) -> None:
    """Delete the role, and remove it from members and channel overwrites."""
    del guild.roles[role.id]
    for member in guild.members.values():
        if role.id in member.roles:
            member.roles.remove(role.id)
    for channel in guild.channels.values():
        channel.overwrites.pop(role.id, None)
    sandbox.emit("GUILD_ROLE_DELETE", {"guild_id": guild.id, "role_id": role.id}, guild.id)
    sandbox.emit_revealed_channels(guild)
    sandbox.changed()


def emit_role_update(sandbox: Sandbox, guild: Guild, role: Role) -> None:
    sandbox.emit("GUILD_ROLE_UPDATE", {"guild_id": guild.id, "role": payloads.role(role)}, guild.id)
    sandbox.emit_revealed_channels(guild)
    sandbox.changed()


def set_overwrites(sandbox: Sandbox, channel: Channel, wanted: dict[str, Overwrite]) -> None:
    """Replace the overwrites with ``wanted`` (by id); a bot that now sees the channel receives its threads."""
    world = sandbox.world
    guild = world.guilds[channel.guild_id]
    bots = [guild.members[application_id] for application_id in world.applications if application_id in guild.members]
    unaware = [bot for bot in bots if not permissions.compute(world, guild, bot, channel)]
    channel.overwrites = wanted
    for bot in unaware:
        if permissions.compute(world, guild, bot, channel):
            threads.emit_list_sync(sandbox, bot.user_id, channel)
    emit_channel_update(sandbox, channel)


def emit_channel_update(sandbox: Sandbox, channel: Channel) -> None:
    sandbox.emit_channel_event("CHANNEL_UPDATE", channel)


def inactive_members(world: World, guild: Guild, days: int, roles: Iterable[str] = ()) -> list[Member]:
    """The members that a prune removes: inactive for ``days`` days, and with no roles but ``roles``.

    For Discord a member is active who is online; for the sandbox one who joins, writes or uses an interaction.
    """
    since = discord_time(world.clock.now() - timedelta(days=days))
    seen = {guild.owner_id} | {
        user_id
        for place in (*guild.channels, *guild.threads)
        for message in world.messages.get(place, {}).values()
        if message.timestamp >= since
        for user_id in (message.author_id, (message.invoked or {}).get("user_id"))
    }
    allowed_roles = set(roles)
    return [
        member
        for member in guild.members.values()
        if member.user_id not in seen
        and not world.users[member.user_id].bot
        and member.joined_at < since
        and allowed_roles.issuperset(member.roles)
    ]


def parse_timeout_end(text: str, now: datetime) -> str | None:
    """The end of a timeout as Discord writes it; None when it is invalid or more than 28 days ahead."""
    try:
        end = datetime.fromisoformat(text)
    except ValueError:
        return None
    end = end if end.tzinfo else end.replace(tzinfo=now.tzinfo)
    return discord_time(end.astimezone(now.tzinfo)) if end <= now + TIMEOUT_MAX else None


def _delete_messages_since(sandbox: Sandbox, guild: Guild, user_id: str, since: str) -> None:
    for channel in [*guild.channels.values(), *guild.threads.values()]:
        messages = sandbox.world.messages.get(channel.id, {}).values()
        delete_messages(
            sandbox,
            channel,
            [message for message in messages if message.author_id == user_id and message.timestamp >= since],
        )


def delete_messages(sandbox: Sandbox, channel: Channel, messages: list[Message]) -> None:
    for message in messages:
        sandbox.world.remove_message(message)
    if len(messages) == 1:
        sandbox.emit_message_delete(messages[0])
    elif messages:
        event = {"ids": [message.id for message in messages], "channel_id": channel.id, "guild_id": channel.guild_id}
        sandbox.emit("MESSAGE_DELETE_BULK", event, channel.guild_id, channel=channel)
        sandbox.changed()

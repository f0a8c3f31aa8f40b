"""The permissions of a member in a guild or channel, computed as Discord does.

``granted``: permission bits. Discord: Permissions > Permission Overwrites, Implicit Permissions, Inherited
Permissions, Permissions For Timed Out Members, Permission Hierarchy.
"""

from __future__ import annotations

from botctl.sandbox.model.permission_bits import ADMINISTRATOR, ALL, BITS, HISTORY, IN_THREADS, SEND, VIEW, bits
from botctl.sandbox.model.world import Channel, Guild, Member, World

_NEED_SEND = bits("MENTION_EVERYONE", "SEND_TTS_MESSAGES", "ATTACH_FILES", "EMBED_LINKS")
_KEPT_IN_TIMEOUT = VIEW | HISTORY


def compute(world: World, guild: Guild, member: Member, channel: Channel | None = None) -> int:
    """The permission bits of ``member`` in ``channel`` (0 if it is hidden), or without a channel in the guild."""
    granted = _base_permissions(guild, member)
    if granted == ALL:
        return ALL
    if channel is not None:
        granted = _apply_overwrites(guild, member, overwrites_channel(world, channel), granted)
        granted = _remove_useless(granted, SEND if channel.thread is None else IN_THREADS)
        if channel.thread is not None and not _can_see_thread(channel, member, granted):
            return 0
    return granted & _KEPT_IN_TIMEOUT if is_timed_out(world, member) else granted


def can_see(world: World, guild: Guild, member: Member, channel: Channel) -> bool:
    """Whether ``member`` sees ``channel``; a category, if they see one in it (Discord: Obfuscated Channels)."""
    inside = (child for child in guild.channels.values() if child.parent_id == channel.id)
    return any(compute(world, guild, member, child) & VIEW for child in (channel, *inside))


def is_timed_out(world: World, member: Member) -> bool:
    return member.timeout_until is not None and member.timeout_until > world.timestamp()


def top_position(guild: Guild, member: Member) -> int:
    return max((guild.roles[role_id].position for role_id in member.roles), default=0)


def is_above(guild: Guild, member: Member, position: int) -> bool:
    """Whether the highest role of ``member`` is above ``position``. The owner is above all roles."""
    return member.user_id == guild.owner_id or top_position(guild, member) > position


def outranks(guild: Guild, member: Member, other: Member) -> bool:
    """Whether ``member`` stands above ``other`` in the role hierarchy. No one stands above the owner."""
    return other.user_id != guild.owner_id and is_above(guild, member, top_position(guild, other))


def _base_permissions(guild: Guild, member: Member) -> int:
    if member.user_id == guild.owner_id:
        return ALL
    granted = guild.roles[guild.id].permissions
    for role_id in member.roles:
        granted |= guild.roles[role_id].permissions
    return ALL if granted & ADMINISTRATOR else granted


def overwrites_channel(world: World, channel: Channel) -> Channel:
    """The channel with the overwrites that apply to ``channel``: for a thread its parent."""
    return world.channels.get(channel.parent_id or "", channel) if channel.thread is not None else channel


def _apply_overwrites(guild: Guild, member: Member, channel: Channel, granted: int) -> int:
    """Apply the overwrite of @everyone first, then those of all roles together, then the member's own."""
    if not channel.overwrites:
        return granted
    roles = [channel.overwrites[role_id] for role_id in member.roles if role_id in channel.overwrites]
    steps = [
        (overwrite.deny, overwrite.allow)
        for overwrite in (channel.overwrites.get(guild.id), channel.overwrites.get(member.user_id))
        if overwrite is not None
    ]
    if roles:
        denied = allowed = 0
        for role in roles:
            denied, allowed = denied | role.deny, allowed | role.allow
        steps.insert(1 if guild.id in channel.overwrites else 0, (denied, allowed))
    for deny, allow in steps:
        granted = granted & ~deny | allow
    return granted


def _remove_useless(granted: int, send: int) -> int:
    """Remove what is useless without VIEW, or without ``send`` (the permission to write messages here)."""
    if not granted & VIEW:
        return 0
    return granted if granted & send else granted & ~_NEED_SEND


def _can_see_thread(thread: Channel, member: Member, granted: int) -> bool:
    """A private thread is visible to its members and to those who manage threads."""
    return not thread.private or member.user_id in thread.thread_members or bool(granted & BITS["MANAGE_THREADS"])

"""The JSON of channels, threads and overwrites; ``viewer``: the user that receives it (Discord: Channel resource)."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.model import permission_bits, permissions
from botctl.sandbox.model.channels.types import CATEGORY, PRIVATE_THREAD, STAGE, VOICE
from botctl.sandbox.model.payloads.users import user
from botctl.sandbox.model.world import Channel, Guild, Member, Overwrite, Thread, World

Json = dict[str, Any]
_OBFUSCATED = 1 << 17  # Discord: Channel Flags; used for all bots since 16 November 2026
# Categories and voice channels have no topic and no pins (Discord: Channel > Channel Object).
_TEXT_FIELDS = ("topic", "last_pin_timestamp")
_MISSING_FIELDS = {
    VOICE: _TEXT_FIELDS,
    STAGE: _TEXT_FIELDS,
    CATEGORY: (*_TEXT_FIELDS, "rate_limit_per_user", "last_message_id"),
}


def channel(channel: Channel) -> Json:
    payload = {
        "id": channel.id,
        "type": channel.type,
        "guild_id": channel.guild_id,
        "name": channel.name,
        "position": channel.position,
        "permission_overwrites": [overwrite(item) for item in channel.overwrites.values()],
        "parent_id": channel.parent_id,
        "topic": channel.topic,
        "nsfw": channel.nsfw,
        "rate_limit_per_user": channel.slowmode_s,
        "last_message_id": channel.last_message_id,
        "last_pin_timestamp": channel.last_pin_at,
        "flags": 0,
        **channel.settings,
    }
    return {key: value for key, value in payload.items() if key not in _MISSING_FIELDS.get(channel.type, ())}


def channel_for(target: Channel, guild: Guild, bot: Member, world: World) -> Json:
    """A channel in events for ``bot``; one that it cannot see has no details (Discord: Obfuscated Channels)."""
    if permissions.can_see(world, guild, bot, target):
        return channel(target)
    everyone_denied = Overwrite(guild.id, 0, deny=permission_bits.VIEW)
    settings = target.settings | ({"available_tags": []} if "available_tags" in target.settings else {})
    hidden = Channel(
        target.id, guild.id, "___hidden___", target.type, target.position, target.parent_id, settings=settings
    )
    return {**channel(hidden), "permission_overwrites": [overwrite(everyone_denied)], "flags": _OBFUSCATED}


def overwrite(overwrite: Overwrite) -> Json:
    return {"id": overwrite.id, "type": overwrite.type, "allow": str(overwrite.allow), "deny": str(overwrite.deny)}


def thread(channel: Channel, state: Thread, *, viewer: str = "") -> Json:
    metadata: Json = {
        "archived": state.archived,
        "archive_timestamp": state.archived_at,
        "auto_archive_duration": state.auto_archive_minutes,
        "locked": state.locked,
        "create_timestamp": state.created_at,
    }
    payload: Json = {
        "id": channel.id,
        "type": channel.type,
        "guild_id": channel.guild_id,
        "parent_id": channel.parent_id,
        "owner_id": channel.owner_id,
        "name": channel.name,
        "last_message_id": channel.last_message_id,
        "last_pin_timestamp": channel.last_pin_at,
        "rate_limit_per_user": channel.slowmode_s,
        "thread_metadata": {**metadata, "invitable": state.invitable} if channel.type == PRIVATE_THREAD else metadata,
        "message_count": state.messages,
        "member_count": min(len(channel.thread_members), 50),  # Discord: Thread fields: at most 50
        "total_message_sent": state.messages_ever,
        "flags": 0,
    }
    return {**payload, "member": thread_member(channel, viewer)} if viewer in channel.thread_members else payload


def thread_member(channel: Channel, user_id: str) -> Json:
    return {"id": channel.id, "user_id": user_id, "join_timestamp": channel.thread_members[user_id], "flags": 0}


def direct_channel(channel: Channel, world: World, *, viewer: str) -> Json:
    others = [user(world.users[user_id]) for user_id in channel.recipients if user_id != viewer]
    return {
        "id": channel.id,
        "type": channel.type,
        "last_message_id": channel.last_message_id,
        "recipients": others,
        "flags": 0,
    }


def any_channel(target: Channel, world: World, *, viewer: str) -> Json:
    """A channel of a guild, a thread or a DM."""
    if target.thread is not None:
        return thread(target, target.thread, viewer=viewer)
    return channel(target) if target.guild_id else direct_channel(target, world, viewer=viewer)


def partial_channel(channel: Channel, permissions: int) -> Json:
    """A channel in an interaction, with the user's permission bits (Discord: Resolved Data Structure)."""
    payload: Json = {
        "id": channel.id,
        "type": channel.type,
        "guild_id": channel.guild_id,
        "name": channel.name,
        "parent_id": channel.parent_id,
        "permissions": str(permissions),
        "flags": 0,
    }
    if channel.thread is not None:
        payload["thread_metadata"] = thread(channel, channel.thread)["thread_metadata"]
    return payload

"""The world as Discord shows it: one function per object of Discord's documentation, each returning plain JSON."""

from __future__ import annotations

import copy
from typing import Any
from urllib.parse import quote

from botctl.sandbox import components, layout, permissions
from botctl.sandbox.world import (
    EPHEMERAL,
    PRIVATE_THREAD,
    Application,
    AuditEntry,
    Channel,
    Emoji,
    Guild,
    Member,
    Message,
    Overwrite,
    Role,
    Thread,
    User,
    Webhook,
    World,
)

Json = dict[str, Any]
HAS_THREAD = 1 << 5  # Discord: Message resource > Message Flags
OBFUSCATED = 1 << 17  # Discord: Channel resource > Channel Flags
SHOWING_REFERENCED = frozenset({19, 21})  # Discord: Message Types: a reply, and what a thread begins with
# A category and what is spoken in have no topic and nothing pinned (Discord: Channel > Channel Object).
_SPOKEN = ("topic", "last_pin_timestamp")
_NOT_OF = {2: _SPOKEN, 13: _SPOKEN, 4: (*_SPOKEN, "rate_limit_per_user", "last_message_id")}


def user(user: User) -> Json:
    shown: Json = {
        "id": user.id,
        "username": user.name,
        "discriminator": "0",
        "global_name": user.global_name,
        "avatar": None,
        "public_flags": 0,
        "flags": 0,
        "primary_guild": None,
    }
    return {**shown, "bot": True} if user.bot else shown


def current_user(bot: User) -> Json:
    return {**user(bot), "verified": True, "mfa_enabled": True, "locale": "en-US", "email": None}


def application(app: Application, world: World) -> Json:
    return {
        "id": app.id,
        "name": app.name,
        "icon": None,
        "description": "A bot in a local Discord",
        "summary": "",
        "type": None,
        "bot_public": True,
        "bot_require_code_grant": False,
        "verify_key": "0" * 64,
        "flags": app.flags,
        "flags_new": str(app.flags),
        "owner": user(world.users[app.owner_id]),
        "team": None,
        "redirect_uris": [],
        "interactions_endpoint_url": None,
        "role_connections_verification_url": None,
        "approximate_guild_count": len(world.guilds),
        "approximate_user_install_count": 0,
        "approximate_user_authorization_count": 0,
        "explicit_content_filter": 0,
        "eligible_oauth2_scopes": ["bot", "applications.commands"],
        "tags": [],
        **app.settings,
    }


def role(role: Role) -> Json:
    shown: Json = {
        "id": role.id,
        "name": role.name,
        "color": role.color,
        "colors": {"primary_color": role.color, "secondary_color": None, "tertiary_color": None},
        "hoist": role.hoist,
        "icon": None,
        "unicode_emoji": None,
        "position": role.position,
        "permissions": str(role.permissions),
        "managed": role.bot_id is not None,
        "mentionable": role.mentionable,
        "flags": 0,
    }
    return {**shown, "tags": {"bot_id": role.bot_id}} if role.bot_id else shown


def channel(channel: Channel) -> Json:
    """A channel of a guild, with what one of its type has."""
    shown = {
        "id": channel.id,
        "type": channel.type,
        "guild_id": channel.guild_id,
        "name": channel.name,
        "position": channel.position,
        "permission_overwrites": [overwrite(one) for one in channel.overwrites.values()],
        "parent_id": channel.parent_id,
        "topic": channel.topic,
        "nsfw": channel.nsfw,
        "rate_limit_per_user": channel.slowmode_s,
        "last_message_id": channel.last_message_id,
        "last_pin_timestamp": channel.last_pin_at,
        "flags": 0,
        **channel.settings,
    }
    return {key: value for key, value in shown.items() if key not in _NOT_OF.get(channel.type, ())}


def channel_for(one: Channel, guild: Guild, bot: Member, world: World) -> Json:
    """A channel as the gateway shows it to ``bot``: what it does not see is there, and nothing is said of it.

    Discord: Channel resource > Obfuscated Channels; for all bots since 16 November 2026.
    """
    if permissions.sees(world, guild, bot, one):
        return channel(one)
    nobody = Overwrite(guild.id, 0, deny=permissions.VIEW)
    settings = one.settings | ({"available_tags": []} if "available_tags" in one.settings else {})
    bare = Channel(one.id, guild.id, "___hidden___", one.type, one.position, one.parent_id, settings=settings)
    return {**channel(bare), "permission_overwrites": [overwrite(nobody)], "flags": OBFUSCATED}


def overwrite(one: Overwrite) -> Json:
    return {"id": one.id, "type": one.type, "allow": str(one.allow), "deny": str(one.deny)}


def thread(channel: Channel, state: Thread, *, viewer: str = "") -> Json:
    """A thread; ``state`` is its `Channel.thread`; with the membership of ``viewer``, if any."""
    metadata: Json = {
        "archived": state.archived,
        "archive_timestamp": state.archived_at,
        "auto_archive_duration": state.auto_archive_minutes,
        "locked": state.locked,
        "create_timestamp": state.created_at,
    }
    shown: Json = {
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
        "member_count": min(len(channel.thread_members), 50),  # Discord: Thread fields: it stops counting at 50
        "total_message_sent": state.messages_ever,
        "flags": 0,
    }
    return {**shown, "member": thread_member(channel, viewer)} if viewer in channel.thread_members else shown


def thread_member(channel: Channel, user_id: str) -> Json:
    return {"id": channel.id, "user_id": user_id, "join_timestamp": channel.thread_members[user_id], "flags": 0}


def direct_channel(channel: Channel, world: World, *, viewer: str) -> Json:
    """A DM as ``viewer`` sees it: with the others of it."""
    others = [user(world.users[one]) for one in channel.recipients if one != viewer]
    return {
        "id": channel.id,
        "type": channel.type,
        "last_message_id": channel.last_message_id,
        "recipients": others,
        "flags": 0,
    }


def any_channel(one: Channel, world: World, *, viewer: str) -> Json:
    """A channel of whatever kind."""
    if one.thread is not None:
        return thread(one, one.thread, viewer=viewer)
    return channel(one) if one.guild_id else direct_channel(one, world, viewer=viewer)


def audit_entry(one: AuditEntry) -> Json:
    """One line of a guild's audit log; what there is nothing of is left out."""
    shown: Json = {"id": one.id, "user_id": one.user_id, "target_id": one.target_id, "action_type": one.action}
    more = {"changes": one.changes, "reason": one.reason, "options": one.options}
    return shown | {key: value for key, value in more.items() if value}


def emoji(one: Emoji, world: World) -> Json:
    return {
        "id": one.id,
        "name": one.name,
        "user": user(world.users[one.user_id]),
        "roles": one.roles,
        "require_colons": True,
        "managed": False,
        "animated": one.animated,
        "available": True,
    }


def webhook(one: Webhook, world: World, *, api: str) -> Json:
    """An incoming webhook; ``api`` is where the API is."""
    return {
        "id": one.id,
        "type": 1,
        "guild_id": one.guild_id,
        "channel_id": one.channel_id,
        "application_id": one.application_id,
        "name": one.name,
        "avatar": one.avatar,
        "user": user(world.users[one.user_id]),
        "token": one.token,
        "url": f"{api}/webhooks/{one.id}/{one.token}",
    }


def reactions(one: Message, viewer: str) -> list[Json]:
    """The reactions of a message as the bot ``viewer`` sees them."""
    return [
        {
            "emoji": reaction_emoji(key),
            "count": len(users),
            "count_details": {"burst": 0, "normal": len(users)},
            "burst_colors": [],
            "me_burst": False,
            "me": viewer in users,
        }
        for key, users in one.reactions.items()
    ]


def reaction_emoji(key: str) -> Json:
    """``👍`` or ``name:id``, as `Message.reactions` has it."""
    name, _, emoji_id = key.partition(":")
    return {"id": emoji_id or None, "name": name}


def partial_channel(channel: Channel, permissions: int) -> Json:
    """A channel as an interaction shows it; of a thread also its metadata (Discord: Resolved Data Structure)."""
    shown: Json = {
        "id": channel.id,
        "type": channel.type,
        "guild_id": channel.guild_id,
        "name": channel.name,
        "parent_id": channel.parent_id,
        "permissions": str(permissions),
        "flags": 0,
    }
    if channel.thread is not None:
        shown["thread_metadata"] = thread(channel, channel.thread)["thread_metadata"]
    return shown


def partial_member(member: Member) -> Json:
    """A member without its user, as messages show it."""
    return {
        "nick": member.nick,
        "avatar": None,
        "banner": None,
        "roles": member.roles,
        "joined_at": member.joined_at,
        "premium_since": None,
        "communication_disabled_until": member.timeout_until,
        "deaf": member.deaf,
        "mute": member.mute,
        "pending": False,
        "flags": 0,
    }


def resolved_member(member: Member, may: int) -> Json:
    """A member with what it may do, as resolved data shows it: without voice (Discord: Resolved Data Structure)."""
    shown = {key: value for key, value in partial_member(member).items() if key not in ("deaf", "mute")}
    return {**shown, "permissions": str(may)}


def member(member: Member, world: World) -> Json:
    return {**partial_member(member), "user": user(world.users[member.user_id])}


def invoking_member(one: Member, may: int, world: World) -> Json:
    """A member with what it may do in the channel, as interactions show the invoking one."""
    return {**member(one, world), "permissions": str(may)}


def guild(guild: Guild, world: World) -> Json:
    """A guild as REST shows it."""
    return {
        "id": guild.id,
        "name": guild.name,
        "icon": None,
        "description": guild.description,
        "home_header": None,
        "splash": None,
        "discovery_splash": None,
        "features": [],
        "banner": None,
        "owner_id": guild.owner_id,
        "application_id": None,
        "region": "deprecated",
        "afk_channel_id": None,
        "afk_timeout": 300,
        "system_channel_id": guild.system_channel_id,
        "system_channel_flags": 0,
        "widget_enabled": False,
        "widget_channel_id": None,
        "verification_level": guild.verification_level,
        "roles": [role(one) for one in guild.roles.values()],
        "default_message_notifications": 0,
        "mfa_level": 0,
        "explicit_content_filter": 0,
        "max_presences": None,
        "max_members": 500_000,
        "max_stage_video_channel_users": 50,
        "max_video_channel_users": 25,
        "vanity_url_code": None,
        "premium_tier": 0,
        "premium_subscription_count": 0,
        "preferred_locale": guild.locale,
        "rules_channel_id": None,
        "safety_alerts_channel_id": None,
        "public_updates_channel_id": None,
        "premium_progress_bar_enabled": False,
        "nsfw": False,
        "nsfw_level": 0,
        "emojis": [emoji(one, world) for one in guild.emojis.values()],
        "stickers": [],
        "incidents_data": None,
        "hub_type": None,
        "latest_onboarding_question_id": None,
        **guild.settings,
    }


def guild_create(one: Guild, bot: Member, shown: list[Member], world: World) -> Json:
    """A guild as GUILD_CREATE shows it to ``bot``, with the members of ``shown``, and the threads that are awake."""
    return {
        **guild(one, world),
        "joined_at": bot.joined_at,
        "large": len(one.members) > 250,  # noqa: PLR2004 - disnake's and Discord's largest large_threshold
        "unavailable": False,
        "member_count": len(one.members),
        "voice_states": [],
        "members": [member(member_, world) for member_ in shown],
        "channels": [channel_for(channel_, one, bot, world) for channel_ in one.channels.values()],
        "threads": [
            thread(one_, one_.thread, viewer=bot.user_id)
            for one_ in one.threads.values()
            if one_.thread and not one_.thread.archived and permissions.of(world, one, bot, one_) & permissions.VIEW
        ],
        "presences": [],
        "stage_instances": [],
        "guild_scheduled_events": [
            scheduled_event(event, world)
            for event in one.scheduled_events.values()
            if _takes_place(event)
            and permissions.of(world, one, bot, one.channels.get(event["channel_id"])) & permissions.VIEW
        ],
        "soundboard_sounds": [],
    }


def _takes_place(event: Json) -> bool:
    """Is a scheduled event ahead, or going on?"""
    return event["status"] in (1, 2)


def scheduled_event(event: Json, world: World) -> Json:
    """One of `Guild.scheduled_events`, with who made it."""
    return {**event, "creator": user(world.users[event["creator_id"]])}


def attachment(stored: Json, channel_id: str, world: World) -> Json:
    url = f"{world.cdn}/attachments/{channel_id}/{stored['id']}/{quote(stored['filename'], safe='')}"
    return {**stored, "url": url, "proxy_url": url}


def message(one: Message, world: World, *, viewer: str = "") -> Json:
    """A message as REST and the answers to an interaction show it; ``viewer``: the bot whose reactions are marked."""
    shown: Json = {
        "id": one.id,
        "type": one.type,
        "channel_id": one.channel_id,
        "author": _webhook_author(one, world) if one.webhook_id else user(world.users[one.author_id]),
        "content": one.content,
        "timestamp": one.timestamp,
        "edited_timestamp": one.edited_at,
        "tts": one.tts,
        "mention_everyone": one.mention_everyone,
        "mentions": [user(world.users[found]) for found in one.mentions if found in world.users],
        "mention_roles": one.mention_roles,
        "attachments": [attachment(stored, one.channel_id, world) for stored in one.attachments],
        "embeds": _embeds(one, world),
        "components": _components(one, world),
        "pinned": one.pinned_at is not None,
        "flags": one.flags,
    }
    if one.application_id:
        shown |= {"application_id": one.application_id, "webhook_id": one.application_id}
    if one.reactions:
        shown["reactions"] = reactions(one, viewer)
    if one.webhook_id:
        shown["webhook_id"] = one.webhook_id
    if one.nonce is not None:
        shown["nonce"] = one.nonce
    if one.invoked:
        shown |= _invoked(one.invoked, one, world)
    if one.reply_to or one.reference:
        shown |= _referring(one, world)
    if one.flags & HAS_THREAD and (begun := world.channels.get(one.id)) and begun.thread:
        shown["thread"] = thread(begun, begun.thread, viewer=viewer)
    return shown


def _webhook_author(one: Message, world: World) -> Json:
    """What a webhook says comes from a user that is none: its id is the webhook's."""
    hook = world.webhooks.get(one.webhook_id or "")
    return {
        "id": one.webhook_id,
        "username": one.name or (hook.name if hook else "Deleted Webhook"),
        "discriminator": "0000",
        "global_name": None,
        "avatar": one.avatar or (hook.avatar if hook else None),
        "public_flags": 0,
        "flags": 0,
        "primary_guild": None,
        "bot": True,
    }


def message_event(one: Message, world: World) -> Json:
    """A message as the gateway shows it: with its guild and its author's membership."""
    shown = message(one, world)
    if not one.guild_id:
        return shown
    shown["guild_id"] = one.guild_id
    members = world.guilds[one.guild_id].members
    for mentioned in shown["mentions"]:
        if mentioned["id"] in members:
            mentioned["member"] = partial_member(members[mentioned["id"]])
    found = members.get(one.author_id)
    return {**shown, "member": partial_member(found)} if found else shown


def _embeds(one: Message, world: World) -> list[Json]:
    """The embeds, with ``attachment://name`` turned into where the attachment is served."""
    if not one.attachments or not one.embeds:
        return one.embeds
    urls = _urls(one, world)
    return [
        {
            key: {**value, "url": urls.get(value["url"], value["url"])} if _is_picture(value) else value
            for key, value in embed.items()
        }
        for embed in one.embeds
    ]


def _urls(one: Message, world: World) -> dict[str, str]:
    """``attachment://name`` to where each attachment is served."""
    return {f"attachment://{a['filename']}": attachment(a, one.channel_id, world)["url"] for a in one.attachments}


def _components(one: Message, world: World) -> list[Json]:
    """The components, with their pictures and files as Discord serves them."""
    if not one.flags & components.V2:
        return one.components
    urls, shown = _urls(one, world), copy.deepcopy(one.components)
    sent = {f"attachment://{a['filename']}": {"name": a["filename"], "size": a["size"]} for a in one.attachments}
    for file in components.walk(shown):
        if file["type"] == components.FILE:
            file.update(sent.get(file["file"]["url"], {}))
    for number, found in enumerate(layout.media(shown), start=1):
        url = urls.get(found["url"], found["url"])
        found |= {"id": str(number), "url": url, "proxy_url": url}
    return shown


def _is_picture(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("url"), str)


def _invoked(invoked: Json, one: Message, world: World) -> Json:
    by = user(world.users[invoked["user_id"]])
    metadata: Json = {
        "id": invoked["id"],
        "type": invoked["type"],
        "user": by,
        "authorizing_integration_owners": {"0": one.guild_id or "0"},
    }
    if invoked["type"] == 3:  # noqa: PLR2004 - a component: the message it stood on
        return {"interaction_metadata": {**metadata, "interacted_message_id": invoked["message_id"]}}
    if invoked["type"] != 2:  # noqa: PLR2004 - a modal: what it was opened by
        used = {"type": 3, "interacted_message_id": invoked["message_id"]} if invoked.get("message_id") else {"type": 2}
        return {"interaction_metadata": {**metadata, "triggering_interaction_metadata": {**metadata, **used}}}
    legacy = {"id": invoked["id"], "type": 2, "name": invoked["name"], "user": by}
    return {"interaction_metadata": {**metadata, "name": invoked["name"]}, "interaction": legacy}


def _referring(one: Message, world: World) -> Json:
    """What a message points to: one that it answers, that began its thread, that was pinned, that it forwards."""
    here = {"channel_id": one.channel_id} | ({"guild_id": one.guild_id} if one.guild_id else {})
    reference = one.reference or {"type": 0, "message_id": one.reply_to, **here}
    shown: Json = {"message_reference": reference}
    if one.snapshots:
        shown["message_snapshots"] = one.snapshots
    if one.type in SHOWING_REFERENCED:
        target = world.message(reference["channel_id"], reference["message_id"])
        shown["referenced_message"] = message(target, world) if target else None
    return shown


def is_ephemeral(one: Message) -> bool:
    return bool(one.flags & EPHEMERAL)

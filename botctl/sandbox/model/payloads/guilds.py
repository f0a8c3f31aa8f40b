"""The JSON of guilds and their roles, emojis, scheduled events and audit log entries (Discord: Guild resource)."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.model import permission_bits, permissions
from botctl.sandbox.model.payloads.channels import channel_for, thread
from botctl.sandbox.model.payloads.users import member, user
from botctl.sandbox.model.world import Emoji, Guild, GuildAuditEntry, Member, Role, World

Json = dict[str, Any]


def guild(guild: Guild, world: World) -> Json:
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
        "roles": [role(item) for item in guild.roles.values()],
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
        "emojis": [emoji(item, world) for item in guild.emojis.values()],
        "stickers": [],
        "incidents_data": None,
        "hub_type": None,
        "latest_onboarding_question_id": None,
        **guild.settings,
    }


def guild_create(joined: Guild, bot: Member, members: list[Member], world: World) -> Json:
    """The data of the event GUILD_CREATE; ``members``: those to include."""
    return {
        **guild(joined, world),
        "joined_at": bot.joined_at,
        "large": len(joined.members) > 250,  # noqa: PLR2004 - disnake's and Discord's largest large_threshold
        "unavailable": False,
        "member_count": len(joined.members),
        "voice_states": [],
        "members": [member(member_, world) for member_ in members],
        "channels": [channel_for(channel_, joined, bot, world) for channel_ in joined.channels.values()],
        "threads": [
            thread(one_, one_.thread, viewer=bot.user_id)
            for one_ in joined.threads.values()
            if one_.thread
            and not one_.thread.archived
            and permissions.compute(world, joined, bot, one_) & permission_bits.VIEW
        ],
        "presences": [],
        "stage_instances": [],
        "guild_scheduled_events": [
            scheduled_event(event, world)
            for event in joined.scheduled_events.values()
            if _is_upcoming_or_active(event)
            and permissions.compute(world, joined, bot, joined.channels.get(event["channel_id"])) & permission_bits.VIEW
        ],
        "soundboard_sounds": [],
    }


def _is_upcoming_or_active(event: Json) -> bool:
    return event["status"] in (1, 2)


def scheduled_event(event: Json, world: World) -> Json:
    return {**event, "creator": user(world.users[event["creator_id"]])}


def role(role: Role) -> Json:
    payload: Json = {
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
    return {**payload, "tags": {"bot_id": role.bot_id}} if role.bot_id else payload


def emoji(emoji: Emoji, world: World) -> Json:
    return {
        "id": emoji.id,
        "name": emoji.name,
        "user": user(world.users[emoji.user_id]),
        "roles": emoji.roles,
        "require_colons": True,
        "managed": False,
        "animated": emoji.animated,
        "available": True,
    }


def audit_entry(entry: GuildAuditEntry) -> Json:
    payload: Json = {
        "id": entry.id,
        "user_id": entry.user_id,
        "target_id": entry.target_id,
        "action_type": entry.action,
    }
    optional = {"changes": entry.changes, "reason": entry.reason, "options": entry.options}
    return payload | {key: value for key, value in optional.items() if value}

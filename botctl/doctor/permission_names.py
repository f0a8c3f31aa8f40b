"""Discord's permissions by name, the names that disnake has for them, and the calls that need one.

Discord: Permissions > Bitwise Permission Flags. A test holds the bits to those of the sandbox and of disnake.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

# fmt: off
_NAMES: Final = (  # in the order of the bits, from bit 0; "-" is an unused bit
    "CREATE_INSTANT_INVITE", "KICK_MEMBERS", "BAN_MEMBERS", "ADMINISTRATOR", "MANAGE_CHANNELS", "MANAGE_GUILD",
    "ADD_REACTIONS", "VIEW_AUDIT_LOG", "PRIORITY_SPEAKER", "STREAM", "VIEW_CHANNEL", "SEND_MESSAGES",
    "SEND_TTS_MESSAGES", "MANAGE_MESSAGES", "EMBED_LINKS", "ATTACH_FILES", "READ_MESSAGE_HISTORY",
    "MENTION_EVERYONE", "USE_EXTERNAL_EMOJIS", "VIEW_GUILD_INSIGHTS", "CONNECT", "SPEAK", "MUTE_MEMBERS",
    "DEAFEN_MEMBERS", "MOVE_MEMBERS", "USE_VAD", "CHANGE_NICKNAME", "MANAGE_NICKNAMES", "MANAGE_ROLES",
    "MANAGE_WEBHOOKS", "MANAGE_GUILD_EXPRESSIONS", "USE_APPLICATION_COMMANDS", "REQUEST_TO_SPEAK", "MANAGE_EVENTS",
    "MANAGE_THREADS", "CREATE_PUBLIC_THREADS", "CREATE_PRIVATE_THREADS", "USE_EXTERNAL_STICKERS",
    "SEND_MESSAGES_IN_THREADS", "USE_EMBEDDED_ACTIVITIES", "MODERATE_MEMBERS",
    "VIEW_CREATOR_MONETIZATION_ANALYTICS", "USE_SOUNDBOARD", "CREATE_GUILD_EXPRESSIONS", "CREATE_EVENTS",
    "USE_EXTERNAL_SOUNDS", "SEND_VOICE_MESSAGES", "-", "SET_VOICE_CHANNEL_STATUS", "SEND_POLLS",
    "USE_EXTERNAL_APPS", "PIN_MESSAGES", "BYPASS_SLOWMODE",
)
# fmt: on
PERMISSION_BITS: Final[Mapping[str, int]] = {name: 1 << bit for bit, name in enumerate(_NAMES) if name != "-"}
ADMINISTRATOR: Final = PERMISSION_BITS["ADMINISTRATOR"]

_OTHER_NAMES: Final = {  # of disnake
    "read_messages": "VIEW_CHANNEL",
    "create_forum_threads": "SEND_MESSAGES",
    "external_emojis": "USE_EXTERNAL_EMOJIS",
    "use_voice_activation": "USE_VAD",
    "manage_permissions": "MANAGE_ROLES",
    "manage_emojis": "MANAGE_GUILD_EXPRESSIONS",
    "manage_emojis_and_stickers": "MANAGE_GUILD_EXPRESSIONS",
    "use_slash_commands": "USE_APPLICATION_COMMANDS",
    "external_stickers": "USE_EXTERNAL_STICKERS",
    "start_embedded_activities": "USE_EMBEDDED_ACTIVITIES",
}

SPLIT: Final[Mapping[str, tuple[str, ...]]] = {
    "PIN_MESSAGES": ("MANAGE_MESSAGES",),
    "CREATE_EVENTS": ("MANAGE_EVENTS",),
    "CREATE_GUILD_EXPRESSIONS": ("MANAGE_GUILD_EXPRESSIONS",),
    "BYPASS_SLOWMODE": ("MANAGE_MESSAGES", "MANAGE_CHANNELS"),
}
"""Each was part of others until 2026-02-23. Discord: Change Log, Permission Changes Going into Effect February 2026."""

CALLS: Final[Mapping[str, tuple[str, ...]]] = {
    "pin": ("PIN_MESSAGES",),
    "unpin": ("PIN_MESSAGES",),
    "ban": ("BAN_MEMBERS",),
    "unban": ("BAN_MEMBERS",),
    "bulk_ban": ("BAN_MEMBERS", "MANAGE_GUILD"),
    "bans": ("BAN_MEMBERS",),
    "kick": ("KICK_MEMBERS",),
    "timeout": ("MODERATE_MEMBERS",),
    "add_roles": ("MANAGE_ROLES",),
    "remove_roles": ("MANAGE_ROLES",),
    "create_role": ("MANAGE_ROLES",),
    "set_permissions": ("MANAGE_ROLES",),
    "move_to": ("MOVE_MEMBERS",),
    "purge": ("MANAGE_MESSAGES", "READ_MESSAGE_HISTORY"),
    "delete_messages": ("MANAGE_MESSAGES",),
    "clear_reactions": ("MANAGE_MESSAGES",),
    "clear_reaction": ("MANAGE_MESSAGES",),
    "add_reaction": ("ADD_REACTIONS", "READ_MESSAGE_HISTORY"),
    "create_text_channel": ("MANAGE_CHANNELS",),
    "create_voice_channel": ("MANAGE_CHANNELS",),
    "create_stage_channel": ("MANAGE_CHANNELS",),
    "create_forum_channel": ("MANAGE_CHANNELS",),
    "create_media_channel": ("MANAGE_CHANNELS",),
    "create_category": ("MANAGE_CHANNELS",),
    "create_invite": ("CREATE_INSTANT_INVITE",),
    "create_webhook": ("MANAGE_WEBHOOKS",),
    "webhooks": ("MANAGE_WEBHOOKS",),
    "create_thread": ("CREATE_PUBLIC_THREADS",),
    "create_scheduled_event": ("CREATE_EVENTS",),
    "create_custom_emoji": ("CREATE_GUILD_EXPRESSIONS",),
    "create_sticker": ("CREATE_GUILD_EXPRESSIONS",),
    "create_soundboard_sound": ("CREATE_GUILD_EXPRESSIONS",),
    "audit_logs": ("VIEW_AUDIT_LOG",),
    "fetch_pins": ("READ_MESSAGE_HISTORY",),
    "history": ("READ_MESSAGE_HISTORY",),
}
"""By the name of a method of disnake: the permissions that the bot needs for it."""
NOT_DISCORD: Final = ("asyncio", "async_timeout", "anyio", "self.browser", "session")
"""Receivers of calls with such a name that have nothing to do with Discord: ``asyncio.timeout``."""

EDITS: Final[Mapping[str, str]] = {
    "nick": "MANAGE_NICKNAMES",
    "mute": "MUTE_MEMBERS",
    "deafen": "DEAFEN_MEMBERS",
    "voice_channel": "MOVE_MEMBERS",
    "roles": "MANAGE_ROLES",
}
"""By the keyword of ``member.edit``."""
SENDS: Final[Mapping[str, str]] = {
    "embed": "EMBED_LINKS",
    "embeds": "EMBED_LINKS",
    "file": "ATTACH_FILES",
    "files": "ATTACH_FILES",
    "poll": "SEND_POLLS",
}
"""By the keyword of ``channel.send``."""


def permission_named(name: str) -> str | None:
    """Discord's name of a permission that disnake calls ``name``; None if there is none."""
    known = _OTHER_NAMES.get(name, name.upper())
    return known if known in PERMISSION_BITS else None


def bits_of(names: Iterable[str]) -> int:
    return sum({PERMISSION_BITS[name] for name in names})


def names_in(bits: int) -> list[str]:
    """The names of the ``bits``, in their order. An administrator has all."""
    return [name for name, bit in PERMISSION_BITS.items() if bits & bit or bits & ADMINISTRATOR]

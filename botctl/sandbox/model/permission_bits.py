"""The bits of permissions (Discord: Permissions > Bitwise Permission Flags), and sets of them that are in use."""

from __future__ import annotations

# By bit, from 0; a bit without a name is not in use.
# fmt: off
NAMES = (
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
BITS = {name: 1 << bit for bit, name in enumerate(NAMES) if name != "-"}
ALL = sum(BITS.values())


def bits(*names: str) -> int:
    """The permissions called ``names``, in any case; raises KeyError."""
    return sum({BITS[name.upper()] for name in names})


def names(permissions: int) -> list[str]:
    return [name for name, bit in BITS.items() if permissions & bit]


ADMINISTRATOR, VIEW, SEND = bits("ADMINISTRATOR"), bits("VIEW_CHANNEL"), bits("SEND_MESSAGES")
HISTORY, IN_THREADS = bits("READ_MESSAGE_HISTORY"), bits("SEND_MESSAGES_IN_THREADS")
EVERYONE = (
    VIEW
    | SEND
    | HISTORY
    | IN_THREADS
    | bits(
        "CREATE_INSTANT_INVITE",
        "ADD_REACTIONS",
        "EMBED_LINKS",
        "ATTACH_FILES",
        "CHANGE_NICKNAME",
        "CONNECT",
        "USE_APPLICATION_COMMANDS",
        "CREATE_PUBLIC_THREADS",
        "CREATE_PRIVATE_THREADS",
        "USE_EXTERNAL_EMOJIS",
        "USE_EXTERNAL_STICKERS",
        "SEND_POLLS",
    )
)
MODERATOR = EVERYONE | bits(
    "KICK_MEMBERS",
    "BAN_MEMBERS",
    "MANAGE_MESSAGES",
    "MODERATE_MEMBERS",
    "MANAGE_NICKNAMES",
    "MANAGE_THREADS",
    "PIN_MESSAGES",
    "BYPASS_SLOWMODE",
    "VIEW_AUDIT_LOG",
)
DIRECT = ALL & ~bits("MANAGE_CHANNELS", "MANAGE_ROLES", "MANAGE_WEBHOOKS", "MANAGE_GUILD", "ADMINISTRATOR")  # in a DM

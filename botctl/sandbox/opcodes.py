"""The gateway's numbers: operations, intents, close codes and limits (Discord: Gateway; Opcodes and Status Codes)."""

from __future__ import annotations

from dataclasses import dataclass

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, VOICE, RESUME = 0, 1, 2, 3, 4, 6
RECONNECT, MEMBERS, INVALID, HELLO, ACK, SOUNDBOARD, CHANNEL_INFO = 7, 8, 9, 10, 11, 31, 43
KNOWN_OPERATIONS = frozenset({HEARTBEAT, IDENTIFY, PRESENCE, VOICE, RESUME, MEMBERS, SOUNDBOARD, CHANNEL_INFO})

GUILDS, GUILD_MEMBERS, PRESENCES, GUILD_MESSAGES, MESSAGE_CONTENT = 1 << 0, 1 << 1, 1 << 8, 1 << 9, 1 << 15
ALL_INTENTS = sum(1 << bit for bit in (*range(17), 20, 21, 24, 25))
PRIVILEGED = {GUILD_MEMBERS: 1 << 14 | 1 << 15, PRESENCES: 1 << 12 | 1 << 13, MESSAGE_CONTENT: 1 << 18 | 1 << 19}
GUILD_MODERATION, GUILD_EXPRESSIONS, GUILD_WEBHOOKS, GUILD_INVITES = 1 << 2, 1 << 3, 1 << 5, 1 << 6
GUILD_REACTIONS, GUILD_TYPING, GUILD_POLLS = 1 << 10, 1 << 11, 1 << 24
DIRECT_MESSAGES, DIRECT_REACTIONS, DIRECT_TYPING, DIRECT_POLLS = 1 << 12, 1 << 13, 1 << 14, 1 << 25
_EVENTS = {  # Discord: Gateway > List of Intents; an event that is not here needs none
    GUILDS: "GUILD_CREATE GUILD_UPDATE GUILD_DELETE GUILD_ROLE_CREATE GUILD_ROLE_UPDATE GUILD_ROLE_DELETE"
    " CHANNEL_CREATE CHANNEL_UPDATE CHANNEL_DELETE CHANNEL_PINS_UPDATE THREAD_CREATE THREAD_UPDATE THREAD_DELETE"
    " THREAD_LIST_SYNC THREAD_MEMBER_UPDATE THREAD_MEMBERS_UPDATE",
    GUILD_MEMBERS: "GUILD_MEMBER_ADD GUILD_MEMBER_UPDATE GUILD_MEMBER_REMOVE",
    GUILD_MODERATION: "GUILD_AUDIT_LOG_ENTRY_CREATE GUILD_BAN_ADD GUILD_BAN_REMOVE",
    GUILD_EXPRESSIONS: "GUILD_EMOJIS_UPDATE GUILD_STICKERS_UPDATE",
    GUILD_WEBHOOKS: "WEBHOOKS_UPDATE",
    GUILD_INVITES: "INVITE_CREATE INVITE_DELETE",
    PRESENCES: "PRESENCE_UPDATE",
    GUILD_MESSAGES: "MESSAGE_CREATE MESSAGE_UPDATE MESSAGE_DELETE MESSAGE_DELETE_BULK",
    GUILD_REACTIONS: "MESSAGE_REACTION_ADD MESSAGE_REACTION_REMOVE MESSAGE_REACTION_REMOVE_ALL"
    " MESSAGE_REACTION_REMOVE_EMOJI",
    GUILD_TYPING: "TYPING_START",
    GUILD_POLLS: "MESSAGE_POLL_VOTE_ADD MESSAGE_POLL_VOTE_REMOVE",
}
INTENT_OF = {event: intent for intent, events in _EVENTS.items() for event in events.split()}
_DIRECT = {
    GUILD_MESSAGES: DIRECT_MESSAGES,
    GUILD_REACTIONS: DIRECT_REACTIONS,
    GUILD_TYPING: DIRECT_TYPING,
    GUILD_POLLS: DIRECT_POLLS,
}
DIRECT_INTENT_OF = {event: _DIRECT.get(intent, intent) for event, intent in INTENT_OF.items()} | {
    "CHANNEL_PINS_UPDATE": DIRECT_MESSAGES,
}


class Close:
    """Discord's close codes, with the words it sends."""

    UNKNOWN_ERROR = (4000, "Unknown error.")
    UNKNOWN_OPCODE = (4001, "Unknown opcode.")
    DECODE_ERROR = (4002, "Error while decoding payload.")
    NOT_AUTHENTICATED = (4003, "Not authenticated.")
    AUTHENTICATION_FAILED = (4004, "Authentication failed.")
    ALREADY_AUTHENTICATED = (4005, "Already authenticated.")
    INVALID_SEQ = (4007, "Invalid seq.")
    RATE_LIMITED = (4008, "You are being rate limited.")
    INVALID_SHARD = (4010, "Invalid shard.")
    SHARDING_REQUIRED = (4011, "Sharding required.")
    INVALID_VERSION = (4012, "Invalid API version.")
    INVALID_INTENTS = (4013, "Invalid intent(s).")
    DISALLOWED_INTENTS = (4014, "Disallowed intent(s).")


@dataclass(frozen=True)
class GatewayLimits:
    """What the gateway allows. Times in seconds; ``buffer`` is in dispatches."""

    heartbeat_s: float = 41.25
    heartbeat_grace: float = 1.5  # of heartbeats that may be late before the connection is closed
    payload_bytes: int = 4096
    sends: int = 120
    sends_per_s: float = 60.0
    resume_window_s: float = 180.0
    buffer: int = 2000
    guilds_per_shard: int = 2500
    ack_s: float = 0.02  # an ACK's way, as over a network: disnake notes when it sent a heartbeat after it has

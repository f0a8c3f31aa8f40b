"""The gateway's numbers: operations, intents, close codes and limits (Discord: Gateway; Opcodes and Status Codes)."""

from __future__ import annotations

from dataclasses import dataclass

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, VOICE, RESUME = 0, 1, 2, 3, 4, 6
RECONNECT, MEMBERS, INVALID, HELLO, ACK, SOUNDBOARD, CHANNEL_INFO = 7, 8, 9, 10, 11, 31, 43
KNOWN_OPERATIONS = frozenset({HEARTBEAT, IDENTIFY, PRESENCE, VOICE, RESUME, MEMBERS, SOUNDBOARD, CHANNEL_INFO})

GUILDS, GUILD_MEMBERS, PRESENCES, GUILD_MESSAGES, MESSAGE_CONTENT = 1 << 0, 1 << 1, 1 << 8, 1 << 9, 1 << 15
ALL_INTENTS = sum(1 << bit for bit in (*range(17), 20, 21, 24, 25))
PRIVILEGED = {GUILD_MEMBERS: 1 << 14 | 1 << 15, PRESENCES: 1 << 12 | 1 << 13, MESSAGE_CONTENT: 1 << 18 | 1 << 19}
INTENT_OF = {  # Discord: Gateway > List of Intents; an event that is not here needs none
    "GUILD_CREATE": GUILDS,
    "GUILD_UPDATE": GUILDS,
    "GUILD_ROLE_CREATE": GUILDS,
    "GUILD_MEMBER_ADD": GUILD_MEMBERS,
    "GUILD_MEMBER_UPDATE": GUILD_MEMBERS,
    "MESSAGE_CREATE": GUILD_MESSAGES,
    "MESSAGE_UPDATE": GUILD_MESSAGES,
    "MESSAGE_DELETE": GUILD_MESSAGES,
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

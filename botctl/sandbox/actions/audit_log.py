"""The audit log of a guild (Discord: Audit Logs resource)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from botctl.sandbox.model import payloads, permission_bits
from botctl.sandbox.model.world import Guild, GuildAuditEntry
from botctl.sandbox.sandbox import Sandbox

Json = dict[str, Any]
_ENTRIES_MAX = 1000  # per guild; older ones are removed


class AuditAction(IntEnum):
    """Discord: Audit Logs resource > Audit Log Events."""

    GUILD_UPDATE = 1
    CHANNEL_CREATE = 10
    CHANNEL_UPDATE = 11
    CHANNEL_DELETE = 12
    CHANNEL_OVERWRITE_CREATE = 13
    CHANNEL_OVERWRITE_UPDATE = 14
    CHANNEL_OVERWRITE_DELETE = 15
    MEMBER_KICK = 20
    MEMBER_PRUNE = 21
    MEMBER_BAN_ADD = 22
    MEMBER_BAN_REMOVE = 23
    MEMBER_UPDATE = 24
    MEMBER_ROLE_UPDATE = 25
    BOT_ADD = 28
    ROLE_CREATE = 30
    ROLE_UPDATE = 31
    ROLE_DELETE = 32
    INVITE_CREATE = 40
    INVITE_DELETE = 42
    WEBHOOK_CREATE = 50
    WEBHOOK_UPDATE = 51
    WEBHOOK_DELETE = 52
    EMOJI_CREATE = 60
    EMOJI_UPDATE = 61
    EMOJI_DELETE = 62
    MESSAGE_DELETE = 72
    MESSAGE_BULK_DELETE = 73
    MESSAGE_PIN = 74
    MESSAGE_UNPIN = 75
    GUILD_SCHEDULED_EVENT_CREATE = 100
    GUILD_SCHEDULED_EVENT_UPDATE = 101
    GUILD_SCHEDULED_EVENT_DELETE = 102
    THREAD_CREATE = 110
    THREAD_UPDATE = 111
    THREAD_DELETE = 112
    APPLICATION_COMMAND_PERMISSION_UPDATE = 121
    AUTO_MODERATION_RULE_CREATE = 140
    AUTO_MODERATION_RULE_UPDATE = 141
    AUTO_MODERATION_RULE_DELETE = 142
    ONBOARDING_UPDATE = 167


def record(sandbox: Sandbox, guild: Guild, entry: GuildAuditEntry) -> None:
    """Add ``entry``, and send it to the bots that may view the log."""
    guild.audit_log.append(entry)
    del guild.audit_log[:-_ENTRIES_MAX]
    event = {**payloads.audit_entry(entry), "guild_id": guild.id}
    sandbox.emit(
        "GUILD_AUDIT_LOG_ENTRY_CREATE", event, guild.id, required_permissions=permission_bits.bits("VIEW_AUDIT_LOG")
    )
    sandbox.changed()


def diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Json]:
    """The ``changes`` of an entry: ``{"key", "old_value"?, "new_value"?}`` for each key whose value differs."""
    return [
        {"key": key}
        | ({"old_value": before[key]} if key in before else {})
        | ({"new_value": after[key]} if key in after else {})
        for key in dict.fromkeys((*before, *after))
        if before.get(key) != after.get(key)
    ]

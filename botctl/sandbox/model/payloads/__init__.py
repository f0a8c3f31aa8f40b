"""The world as Discord's JSON: one function for each object of Discord's documentation. Read `messages` first."""

from botctl.sandbox.model.payloads.applications import application, webhook
from botctl.sandbox.model.payloads.channels import (
    any_channel,
    channel,
    channel_for,
    direct_channel,
    overwrite,
    partial_channel,
    thread,
    thread_member,
)
from botctl.sandbox.model.payloads.guilds import audit_entry, emoji, guild, guild_create, role, scheduled_event
from botctl.sandbox.model.payloads.messages import (
    HAS_THREAD,
    attachment,
    is_ephemeral,
    message,
    message_event,
    reaction_emoji,
)
from botctl.sandbox.model.payloads.users import (
    current_user,
    invoking_member,
    member,
    partial_member,
    resolved_member,
    user,
)

__all__ = [
    "HAS_THREAD",
    "any_channel",
    "application",
    "attachment",
    "audit_entry",
    "channel",
    "channel_for",
    "current_user",
    "direct_channel",
    "emoji",
    "guild",
    "guild_create",
    "invoking_member",
    "is_ephemeral",
    "member",
    "message",
    "message_event",
    "overwrite",
    "partial_channel",
    "partial_member",
    "reaction_emoji",
    "resolved_member",
    "role",
    "scheduled_event",
    "thread",
    "thread_member",
    "user",
    "webhook",
]

"""The state of the simulated Discord: plain data, and the rules that keep it consistent. Nothing here waits or sends.

Ids are snowflakes as decimal strings; times are ISO 8601 in UTC, as Discord writes them. Fields without a comment mean
the same as in Discord's own objects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from botctl.core.clock import Clock
from botctl.sandbox.model import permission_bits, snowflakes
from botctl.sandbox.model.channels.types import DM, PRIVATE_THREAD
from botctl.sandbox.model.clock import SandboxClock

KEPT_MESSAGES = 500  # per channel; limits the memory of a long run
PRUNE_BATCH = 100  # how many of the oldest are removed at once

# All privileged intents are allowed (Discord: Application resource > Application Flags)
PRIVILEGED_GRANTED = 1 << 12 | 1 << 14 | 1 << 18

EPHEMERAL = 1 << 6  # Discord: Message resource > Message flags
LOADING = 1 << 7  # shown as "thinking…"


@dataclass
class User:
    id: str
    name: str
    bot: bool = False
    global_name: str | None = None
    locale: str = "en-US"  # of the user's client
    closed_dms: bool = False  # no one may send them a DM


@dataclass
class Role:
    id: str
    name: str
    position: int = 1
    permissions: int = permission_bits.EVERYONE
    color: int = 0
    bot_id: str | None = None  # of a bot's own (managed) role
    hoist: bool = False
    mentionable: bool = False


@dataclass
class Overwrite:
    id: str  # of the role or member
    type: int  # 0: a role, 1: a member
    allow: int = 0
    deny: int = 0


@dataclass
class Thread:
    """The fields of a thread beyond those of a channel (Discord: Channel resource > Thread Metadata)."""

    created_at: str
    archived_at: str  # when ``archived`` last changed
    archived: bool = False
    locked: bool = False
    invitable: bool = True
    auto_archive_minutes: int = 4320  # time without messages before it is archived
    messages: int = 0  # how many it contains now
    messages_ever: int = 0  # how many it ever contained


@dataclass
class Channel:
    """A channel of a guild, a thread, or a DM."""

    id: str
    guild_id: str  # empty in a DM
    name: str
    type: int = 0
    position: int = 0
    parent_id: str | None = None
    topic: str | None = None
    nsfw: bool = False
    slowmode_s: int = 0  # Discord's ``rate_limit_per_user``
    overwrites: dict[str, Overwrite] = field(default_factory=dict)  # by the id of the role or member
    last_message_id: str | None = None
    last_pin_at: str | None = None
    owner_id: str | None = None  # of a thread
    thread: Thread | None = None  # set for threads only
    thread_members: dict[str, str] = field(default_factory=dict)  # user id to the time of joining
    recipients: list[str] = field(default_factory=list)  # user ids of a DM
    settings: dict[str, Any] = field(default_factory=dict)  # other fields of Discord's object, as JSON

    @property
    def private(self) -> bool:
        return self.type == PRIVATE_THREAD


@dataclass
class Member:
    user_id: str
    roles: list[str] = field(default_factory=list)
    joined_at: str = "2026-01-01T00:00:00.000000+00:00"
    nick: str | None = None
    timeout_until: str | None = None  # Discord's ``communication_disabled_until``
    deaf: bool = False
    mute: bool = False


@dataclass
class Emoji:
    id: str
    name: str
    user_id: str  # its creator
    roles: list[str] = field(default_factory=list)  # the only roles that may use it
    animated: bool = False


@dataclass
class Invite:
    code: str
    guild_id: str
    channel_id: str
    inviter_id: str
    created_at: str
    max_age_s: int = 86_400
    max_uses: int = 0
    temporary: bool = False
    uses: int = 0


@dataclass
class Webhook:
    id: str
    token: str
    guild_id: str
    channel_id: str
    name: str
    user_id: str  # its creator
    application_id: str | None = None  # of the bot that created it
    avatar: str | None = None


@dataclass
class GuildAuditEntry:
    id: str
    user_id: str  # of the moderator
    action: int  # an `AuditAction`, for example 22: ban
    target_id: str | None = None
    changes: list[dict[str, Any]] = field(default_factory=list)  # {key, old_value?, new_value?}
    reason: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Guild:
    id: str
    name: str
    owner_id: str
    roles: dict[str, Role] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    locale: str = "en-US"
    threads: dict[str, Channel] = field(default_factory=dict)
    emojis: dict[str, Emoji] = field(default_factory=dict)
    bans: dict[str, str | None] = field(default_factory=dict)  # user id to reason
    audit_log: list[GuildAuditEntry] = field(default_factory=list)
    description: str | None = None
    system_channel_id: str | None = None
    verification_level: int = 0
    available: bool = True  # False in an outage
    settings: dict[str, Any] = field(default_factory=dict)  # other fields of Discord's object, as JSON
    auto_moderation: dict[str, dict[str, Any]] = field(default_factory=dict)  # rules by id, as JSON
    scheduled_events: dict[str, dict[str, Any]] = field(default_factory=dict)  # by id, as JSON
    pages: dict[str, dict[str, Any]] = field(default_factory=dict)  # "welcome_screen", … to JSON


@dataclass
class Message:
    id: str
    channel_id: str
    guild_id: str  # empty in a DM
    author_id: str
    timestamp: str
    content: str = ""
    type: int = 0
    flags: int = 0
    edited_at: str | None = None
    embeds: list[dict[str, Any]] = field(default_factory=list)
    components: list[dict[str, Any]] = field(default_factory=list)
    attachments: list[dict[str, Any]] = field(default_factory=list)  # {id, filename, size, content_type, description?}
    only_for: str | None = None  # the only user who sees it (ephemeral)
    invoked: dict[str, Any] | None = None  # the interaction that it answers: {id, type, name, user_id, message_id}
    reply_to: str | None = None  # a message id of the same channel
    application_id: str | None = None
    nonce: str | int | None = None
    pinned_at: str | None = None
    reactions: dict[str, list[str]] = field(default_factory=dict)  # "👍" or "name:id" to user ids
    webhook_id: str | None = None
    name: str | None = None  # a webhook's name for this message
    tts: bool = False
    avatar: str | None = None  # a webhook's avatar for this message
    mentions: list[str] = field(default_factory=list)  # user ids
    mention_roles: list[str] = field(default_factory=list)  # role ids
    mention_everyone: bool = False
    reference: dict[str, Any] | None = None  # Discord's ``message_reference``, except for a reply
    snapshots: list[dict[str, Any]] = field(default_factory=list)  # the forwarded messages, as JSON


@dataclass
class Application:
    id: str
    name: str
    owner_id: str
    flags: int = PRIVILEGED_GRANTED
    # By guild id ("": global commands), then by command id: the command as JSON
    commands: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    # By guild id, then by command id (or the application's): overwrites {id, type, permission}
    command_permissions: dict[str, dict[str, list[dict[str, Any]]]] = field(default_factory=dict)
    emojis: dict[str, Emoji] = field(default_factory=dict)  # usable in every guild
    settings: dict[str, Any] = field(default_factory=dict)  # other fields of Discord's object, as JSON

    def all_commands(self) -> list[dict[str, Any]]:
        return [command for scope in self.commands.values() for command in scope.values()]


class World:
    """Everything that exists in the simulated Discord. ``url``: the address of the sandbox, or empty."""

    def __init__(self, clock: Clock | None = None, *, last_id: int = 0, url: str = "") -> None:
        self.clock = SandboxClock(clock)
        self.url = url
        self.last_id = last_id
        self.users: dict[str, User] = {}
        self.user_ids: dict[str, str] = {}  # by casefolded name
        self.guilds: dict[str, Guild] = {}
        self.channels: dict[str, Channel] = {}  # of all guilds, with threads and DMs
        self.invites: dict[str, Invite] = {}  # by code
        self.webhooks: dict[str, Webhook] = {}
        self.applications: dict[str, Application] = {}
        self.messages: dict[str, dict[str, Message]] = {}  # channel id to message id to message, oldest first

    def new_id(self) -> str:
        """A new snowflake from the clock's milliseconds; unique even when the clock is set back."""
        self.last_id = max(snowflakes.smallest_at(self.clock.now()), self.last_id + 1)
        return str(self.last_id)

    def timestamp(self) -> str:
        return discord_time(self.clock.now())

    def add_user(self, user: User) -> User:
        self.users[user.id] = user
        self.user_ids[user.name.casefold()] = user.id
        return user

    def add_guild(self, guild: Guild) -> Guild:
        self.guilds[guild.id] = guild
        self.channels.update(guild.channels)
        self.channels.update(guild.threads)
        return guild

    def add_channel(self, channel: Channel) -> Channel:
        self.channels[channel.id] = channel
        if channel.guild_id:
            guild = self.guilds[channel.guild_id]
            (guild.channels if channel.thread is None else guild.threads)[channel.id] = channel
        return channel

    def remove_channel(self, channel: Channel) -> None:
        """Also removes its threads, messages, invites, webhooks and scheduled events."""
        if channel.guild_id:
            guild = self.guilds[channel.guild_id]
            for thread in [thread for thread in guild.threads.values() if thread.parent_id == channel.id]:
                self.remove_channel(thread)
            guild.channels.pop(channel.id, None)
            guild.threads.pop(channel.id, None)
            events = guild.scheduled_events
            guild.scheduled_events = {key: event for key, event in events.items() if event["channel_id"] != channel.id}
        self.channels.pop(channel.id, None)
        self.messages.pop(channel.id, None)
        self.invites = {code: invite for code, invite in self.invites.items() if invite.channel_id != channel.id}
        self.webhooks = {key: webhook for key, webhook in self.webhooks.items() if webhook.channel_id != channel.id}

    def direct_channel(self, user_id: str, other_id: str) -> Channel:
        """The DM channel of two users; the first call creates it."""
        for channel in self.channels.values():
            if not channel.guild_id and set(channel.recipients) == {user_id, other_id}:
                return channel
        return self.add_channel(Channel(self.new_id(), "", "", type=DM, recipients=[user_id, other_id]))

    def add_message(self, message: Message) -> None:
        messages = self.messages.setdefault(message.channel_id, {})
        messages[message.id] = message
        channel = self.channels.get(message.channel_id)
        if channel is not None and message.only_for is None:
            channel.last_message_id = message.id
            if channel.thread is not None and message.id != channel.id:  # not the starter message
                channel.thread.messages += 1
                channel.thread.messages_ever += 1
        if len(messages) >= KEPT_MESSAGES + PRUNE_BATCH:
            for old in list(messages)[:PRUNE_BATCH]:
                del messages[old]

    def remove_message(self, message: Message) -> None:
        removed = self.messages.get(message.channel_id, {}).pop(message.id, None)
        channel = self.channels.get(message.channel_id)
        if removed is not None and channel is not None and channel.thread is not None and message.only_for is None:
            channel.thread.messages = max(0, channel.thread.messages - 1)

    def attachment_ids(self) -> set[str]:
        messages = (message for channel in self.messages.values() for message in channel.values())
        return {attachment["id"] for message in messages for attachment in message.attachments}

    def message(self, channel_id: str, message_id: str) -> Message | None:
        return self.messages.get(channel_id, {}).get(message_id)


def discord_time(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")

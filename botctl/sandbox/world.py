"""The world of the local Discord: plain data, and the few rules that belong to the data itself.

Ids are snowflakes as decimal strings; times are ISO 8601 in UTC as Discord writes them. Nothing here waits or sends:
`payloads` shows the world as JSON, `storage` keeps it in a file, the adapters change it and tell the bots.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from botctl.core.clock import Clock, SystemClock

DISCORD_EPOCH_MS = 1_420_070_400_000  # Discord: Reference > Snowflakes
KEPT_MESSAGES = 500  # per channel; the oldest go first, so that a long run stays small
PRUNED_AT_ONCE = 100

ADMINISTRATOR = 1 << 3
ALL_PERMISSIONS = (1 << 53) - 1
_KICK, _BAN, _REACT, _VIEW, _SEND = 1 << 1, 1 << 2, 1 << 6, 1 << 10, 1 << 11
_MANAGE_MESSAGES, _EMBED, _ATTACH, _HISTORY, _MANAGE_ROLES = 1 << 13, 1 << 14, 1 << 15, 1 << 16, 1 << 28
_USE_COMMANDS, _MODERATE = 1 << 31, 1 << 40
EVERYBODY = _REACT | _VIEW | _SEND | _EMBED | _ATTACH | _HISTORY | _USE_COMMANDS
MODERATOR = EVERYBODY | _KICK | _BAN | _MANAGE_MESSAGES | _MODERATE

# Discord: Application resource > Application flags: the three privileged intents, granted
PRIVILEGED_GRANTED = 1 << 12 | 1 << 14 | 1 << 18

EPHEMERAL = 1 << 6  # Discord: Message resource > Message flags
LOADING = 1 << 7


@dataclass
class User:
    id: str
    name: str
    bot: bool = False
    global_name: str | None = None


@dataclass
class Role:
    id: str
    name: str
    position: int = 1
    permissions: int = EVERYBODY
    color: int = 0
    bot_id: str | None = None  # the bot that a managed role was made for


@dataclass
class Channel:
    id: str
    guild_id: str
    name: str
    type: int = 0
    position: int = 0


@dataclass
class Member:
    user_id: str
    roles: list[str] = field(default_factory=list)
    joined_at: str = "2026-01-01T00:00:00.000000+00:00"
    nick: str | None = None


@dataclass
class Guild:
    id: str
    name: str
    owner_id: str
    roles: dict[str, Role] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    locale: str = "en-US"

    def permissions(self, member: Member) -> int:
        """What ``member`` may do in the guild (Discord: Permissions, without channel overwrites)."""
        if member.user_id == self.owner_id:
            return ALL_PERMISSIONS
        granted = self.roles[self.id].permissions
        for role_id in member.roles:
            granted |= self.roles[role_id].permissions
        return ALL_PERMISSIONS if granted & ADMINISTRATOR else granted


@dataclass
class Message:
    """One message. ``only_for`` is the user who alone sees it (ephemeral); ``invoked`` is what it answers:
    ``{id, type, name, user_id}``; attachments are ``{id, filename, size, content_type, description?}``.
    """

    id: str
    channel_id: str
    guild_id: str
    author_id: str
    timestamp: str
    content: str = ""
    type: int = 0
    flags: int = 0
    edited_at: str | None = None
    embeds: list[dict[str, Any]] = field(default_factory=list)
    components: list[dict[str, Any]] = field(default_factory=list)
    attachments: list[dict[str, Any]] = field(default_factory=list)
    only_for: str | None = None
    invoked: dict[str, Any] | None = None
    reply_to: str | None = None
    application_id: str | None = None
    nonce: str | int | None = None


@dataclass
class Application:
    """A bot's application. ``commands``: scope ("" for global, else the guild's id) to command id to stored command."""

    id: str
    name: str
    owner_id: str
    flags: int = PRIVILEGED_GRANTED
    commands: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    def all_commands(self) -> list[dict[str, Any]]:
        return [command for scope in self.commands.values() for command in scope.values()]


class World:
    """Everything that exists. ``cdn`` is the base URL where attachments are served."""

    def __init__(self, clock: Clock | None = None, *, last_id: int = 0) -> None:
        self.clock = clock or SystemClock()
        self.last_id = last_id
        self.cdn = ""
        self.users: dict[str, User] = {}
        self.names: dict[str, str] = {}  # of users, casefolded, to their ids
        self.guilds: dict[str, Guild] = {}
        self.channels: dict[str, Channel] = {}  # the channels of all guilds, by id
        self.applications: dict[str, Application] = {}
        self.messages: dict[str, dict[str, Message]] = {}  # channel id to message id to message, oldest first

    def new_id(self) -> str:
        """A new snowflake: the clock's milliseconds, and never one twice, even when the clock steps back."""
        ms = int(self.clock.now().timestamp() * 1000) - DISCORD_EPOCH_MS
        self.last_id = max(ms << 22, self.last_id + 1)
        return str(self.last_id)

    def timestamp(self) -> str:
        return discord_time(self.clock.now())

    def add_user(self, user: User) -> User:
        self.users[user.id] = user
        self.names[user.name.casefold()] = user.id
        return user

    def add_guild(self, guild: Guild) -> Guild:
        self.guilds[guild.id] = guild
        self.channels.update(guild.channels)
        return guild

    def add_message(self, message: Message) -> None:
        shown = self.messages.setdefault(message.channel_id, {})
        shown[message.id] = message
        if len(shown) >= KEPT_MESSAGES + PRUNED_AT_ONCE:
            for old in list(shown)[:PRUNED_AT_ONCE]:
                del shown[old]

    def attachment_ids(self) -> set[str]:
        shown = (message for channel in self.messages.values() for message in channel.values())
        return {attachment["id"] for message in shown for attachment in message.attachments}

    def message(self, channel_id: str, message_id: str) -> Message | None:
        return self.messages.get(channel_id, {}).get(message_id)


def discord_time(at: datetime) -> str:
    return at.isoformat(timespec="microseconds")


def default_world(clock: Clock | None = None) -> World:
    """The world a sandbox starts with: one guild, two channels, three people and one bot."""
    world = World(clock)
    ann, bob, cat, bot = (f"90000000000000{tail}" for tail in ("0101", "0102", "0103", "0010"))
    guild_id, admin, moderator, bot_role = (f"90000000000000{tail}" for tail in ("0001", "0201", "0202", "0203"))
    for user_id, name in ((ann, "ann"), (bob, "bob"), (cat, "cat")):
        world.add_user(User(user_id, name, global_name=name.title()))
    world.add_user(User(bot, "botctl-bot", bot=True))
    world.applications[bot] = Application(bot, "botctl-bot", owner_id=ann)
    roles = (
        Role(guild_id, "@everyone", position=0),
        Role(admin, "Admin", position=3, permissions=EVERYBODY | ADMINISTRATOR, color=0xE74C3C),
        Role(moderator, "Moderator", position=2, permissions=MODERATOR, color=0x3498DB),
        Role(bot_role, "botctl-bot", position=1, permissions=MODERATOR | _MANAGE_ROLES, bot_id=bot),
    )
    channels = (
        Channel("900000000000000301", guild_id, "general", position=0),
        Channel("900000000000000302", guild_id, "staff", position=1),
    )
    members = (Member(ann, [admin]), Member(bob, [moderator]), Member(cat), Member(bot, [bot_role]))
    world.add_guild(
        Guild(
            guild_id,
            "Botctl Test Guild",
            ann,
            roles={role.id: role for role in roles},
            channels={channel.id: channel for channel in channels},
            members={member.user_id: member for member in members},
        )
    )
    return world

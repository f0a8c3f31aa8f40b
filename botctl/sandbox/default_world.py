"""The world that a sandbox begins with."""

from __future__ import annotations

from botctl.core.clock import Clock
from botctl.sandbox import permissions
from botctl.sandbox.world import Application, Channel, Guild, Member, Role, User, World

# What the shipped commands and a moderation bot need; not ADMINISTRATOR, so that a missing permission is met here.
_BOT = permissions.MODERATOR | permissions.bits(
    "MANAGE_ROLES",
    "MANAGE_CHANNELS",
    "MANAGE_WEBHOOKS",
    "MANAGE_GUILD",
    "MANAGE_GUILD_EXPRESSIONS",
    "CREATE_GUILD_EXPRESSIONS",
    "MENTION_EVERYONE",
)


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
        Role(admin, "Admin", position=3, permissions=permissions.EVERYBODY | permissions.ADMINISTRATOR, color=0xE74C3C),
        Role(moderator, "Moderator", position=1, permissions=permissions.MODERATOR, color=0x3498DB),
        Role(bot_role, "botctl-bot", position=2, permissions=_BOT, bot_id=bot),
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

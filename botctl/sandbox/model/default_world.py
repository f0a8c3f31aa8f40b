"""The world of a new sandbox: a guild with its channels, users and bots."""

from __future__ import annotations

import re
from collections.abc import Sequence

from botctl.core.clock import Clock
from botctl.core.errors import UsageError
from botctl.sandbox.model import permission_bits
from botctl.sandbox.model.tokens import DEFAULT_BOT
from botctl.sandbox.model.world import Application, Channel, Guild, Member, Role, User, World

# Enough for botctl's own commands and for moderation; not ADMINISTRATOR, which would hide a missing permission.
_BOT_PERMISSIONS = permission_bits.MODERATOR | permission_bits.bits(
    "MANAGE_ROLES",
    "MANAGE_CHANNELS",
    "MANAGE_WEBHOOKS",
    "MANAGE_GUILD",
    "MANAGE_GUILD_EXPRESSIONS",
    "CREATE_GUILD_EXPRESSIONS",
    "CREATE_EVENTS",
    "MANAGE_EVENTS",
    "MENTION_EVERYONE",
)


_USER_NAMES = ("ann", "bob", "cat")
_NAME = re.compile(r"[\w.-]{2,32}")


def default_world(clock: Clock | None = None, bots: Sequence[str] = (), *, url: str = "") -> World:
    """One guild, two channels, three users, and the ``bots`` (default: one). Raises UsageError for an invalid name."""
    world = World(clock, url=url)
    name, *others = bots or ("botctl-bot",)
    _add_guild(world, _check_name(world, name))
    for other in others:
        add_bot(world, other)
    return world


def add_bot(world: World, name: str) -> Application:
    """Add an application whose bot is in every guild. Raises UsageError when ``name`` is invalid or in use."""
    owner = next(user.id for user in world.users.values() if not user.bot)
    bot = int(DEFAULT_BOT)
    while str(bot) in world.users:
        bot += 1
    app = world.applications[str(bot)] = Application(str(bot), _check_name(world, name), owner)
    world.add_user(User(app.id, name, bot=True))
    for guild in world.guilds.values():
        position = max(role.position for role in guild.roles.values()) + 1
        role = Role(world.new_id(), name, position=position, permissions=_BOT_PERMISSIONS, bot_id=app.id)
        guild.roles[role.id] = role
        guild.members[app.id] = Member(app.id, [role.id])
    return app


def _check_name(world: World, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(f"“{name}” cannot be the name of a bot.", hint="2 to 32 letters, digits, “.”, “_”, “-”.")
    if name.casefold() in world.user_ids or name.casefold() in _USER_NAMES:
        raise UsageError(f"The name “{name}” is already taken.", hint="Choose another name for the bot.")
    return name


def _add_guild(world: World, bot_name: str) -> None:
    ann, bob, cat = (f"90000000000000{tail}" for tail in ("0101", "0102", "0103"))
    bot = DEFAULT_BOT
    guild_id, admin, moderator, bot_role = (f"90000000000000{tail}" for tail in ("0001", "0201", "0202", "0203"))
    for user_id, name in zip((ann, bob, cat), _USER_NAMES, strict=True):
        world.add_user(User(user_id, name, global_name=name.title()))
    world.add_user(User(bot, bot_name, bot=True))
    world.applications[bot] = Application(bot, bot_name, owner_id=ann)
    roles = (
        Role(guild_id, "@everyone", position=0),
        Role(
            admin,
            "Admin",
            position=3,
            permissions=permission_bits.EVERYONE | permission_bits.ADMINISTRATOR,
            color=0xE74C3C,
        ),
        Role(moderator, "Moderator", position=1, permissions=permission_bits.MODERATOR, color=0x3498DB),
        Role(bot_role, bot_name, position=2, permissions=_BOT_PERMISSIONS, bot_id=bot),
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

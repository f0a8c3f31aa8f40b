"""The sandbox's data at the start of a test: a guild with one channel, an owner, two roles and the bot."""

from __future__ import annotations

from collections.abc import Iterable

from botctl.sandbox.model import permission_bits
from botctl.sandbox.model.world import Application, Channel, Guild, Member, Role, User, World

_BOT_POSITION = 100  # above the roles that a test makes
_BOT_PERMISSIONS = permission_bits.ALL & ~permission_bits.ADMINISTRATOR  # an administrator would bypass overwrites


def fresh_world(bot_name: str, guild_ids: Iterable[int], url: str) -> tuple[World, str]:
    """Return a world and the bot's application id; ``guild_ids``: the guilds in which the bot registers commands."""
    world = World(url=url)
    owner = world.add_user(User(world.new_id(), "owner"))
    bot = world.add_user(User(world.new_id(), bot_name, bot=True))
    world.applications[bot.id] = Application(bot.id, bot_name, owner_id=owner.id)
    ids = [str(guild_id) for guild_id in guild_ids] or [world.new_id()]
    for number, guild_id in enumerate(ids, 1):
        name = "Test Guild" if number == 1 else f"Test Guild {number}"
        world.add_guild(_guild(world, guild_id, name, owner, bot))
    return world, bot.id


def _guild(world: World, guild_id: str, name: str, owner: User, bot: User) -> Guild:
    roles = (
        Role(guild_id, "@everyone", position=0),
        Role(world.new_id(), "moderator", position=1, permissions=permission_bits.MODERATOR),
        Role(world.new_id(), "admin", position=2, permissions=permission_bits.EVERYONE | permission_bits.ADMINISTRATOR),
        Role(world.new_id(), bot.name, position=_BOT_POSITION, permissions=_BOT_PERMISSIONS, bot_id=bot.id),
    )
    general = Channel(world.new_id(), guild_id, "general")
    return Guild(
        guild_id,
        name,
        owner.id,
        roles={role.id: role for role in roles},
        channels={general.id: general},
        members={owner.id: Member(owner.id), bot.id: Member(bot.id, [roles[-1].id])},
    )

"""Simulated failures in guilds. ``guild`` is a name or id, ``bot`` an id; empty means the first one."""

from __future__ import annotations

from botctl.sandbox.actions import world_changes
from botctl.sandbox.incidents.catalogue import incident, until_stopped
from botctl.sandbox.model import lookup, payloads, permission_bits
from botctl.sandbox.model.world import Channel, Guild, Member, Overwrite, Role, User
from botctl.sandbox.sandbox import Sandbox


@incident("Discord: Permissions; JSON error codes 50001 and 50013")
async def permission_loss(sandbox: Sandbox, permission: str = "SEND_MESSAGES", guild: str = "", bot: str = "") -> None:
    """An administrator denies the bot ``permission`` in every channel, and takes it away from the bot's roles.

    Discord answers 403 with the code 50013 (missing permissions), or 50001 (missing access) when the bot no longer sees
    the channel, and sends GUILD_ROLE_UPDATE and CHANNEL_UPDATE. Each 403 counts towards the limit of invalid requests
    (10,000 in 10 minutes). The permission comes back at the end.
    A bot with ADMINISTRATOR loses nothing, because overwrites do not apply to it.
    """
    target = lookup.guild(sandbox.world, guild or None)
    bit = permission_bits.bits(permission)
    member = target.members[bot or next(iter(sandbox.world.applications))]
    roles = [target.roles[role_id] for role_id in member.roles if target.roles[role_id].permissions & bit]
    channels = list(target.channels.values())
    before = {channel.id: channel.overwrites.get(member.user_id) for channel in channels}
    for role in roles:
        role.permissions &= ~bit
    for channel in channels:
        old = before[channel.id] or Overwrite(member.user_id, 1)
        channel.overwrites[member.user_id] = Overwrite(old.id, 1, old.allow & ~bit, old.deny | bit)
    _emit_updates(sandbox, target, roles, channels)
    try:
        await until_stopped(sandbox)
    finally:
        for role in roles:
            role.permissions |= bit
        for channel in channels:
            _restore_overwrite(channel, member.user_id, before[channel.id])
        _emit_updates(sandbox, target, roles, channels)


@incident("Discord: Gateway Events > Guild Delete: unavailable; Gateway > Guild Availability")
async def guild_outage(sandbox: Sandbox, guild: str = "") -> None:
    """The guild becomes unavailable (GUILD_DELETE with ``unavailable``), and comes back with a GUILD_CREATE.

    The bot is still a member of the guild, so it must not delete the guild's settings.
    """
    target = lookup.guild(sandbox.world, guild or None)
    sandbox.emit("GUILD_DELETE", {"id": target.id, "unavailable": True}, target.id)
    target.available = False
    try:
        await until_stopped(sandbox)
    finally:
        target.available = True
        sandbox.emit_guild_create(target)


@incident("Discord: Gateway Events > Guild Member Add; raids")
async def join_flood(sandbox: Sandbox, per_s: float = 100.0, members: int = 1000, guild: str = "") -> dict[str, int]:
    """``members`` new people join the guild, ``per_s`` a second, and stay.

    Bots with the GUILD_MEMBERS intent get all the events.
    """
    target = lookup.guild(sandbox.world, guild or None)
    at_once = max(int(per_s / 10), 1)
    for number in range(members):
        world_changes.apply(sandbox, "add_member", {"name": f"raider-{sandbox.world.new_id()}", "guild": target.id})
        if (number + 1) % at_once == 0 and per_s > 0:
            await sandbox.clock.sleep(at_once / per_s)
    return {"members": len(target.members)}


@incident("Discord: Gateway Events > Request Guild Members; Gateway > large guilds")
async def big_guild(sandbox: Sandbox, members: int = 100_000) -> dict[str, str]:
    """The bots join a guild of ``members``. A bot that requests all gets chunks of 1,000, and needs memory."""
    world = sandbox.world
    guild_id = world.new_id()
    people = [world.add_user(User(world.new_id(), f"member-{number}-of-{guild_id}")) for number in range(members)]
    channel = Channel(world.new_id(), guild_id, "general")
    guild_members = {user.id: Member(user.id, joined_at=world.timestamp()) for user in people}
    guild_members |= {
        application_id: Member(application_id, joined_at=world.timestamp()) for application_id in world.applications
    }
    roles = {guild_id: Role(guild_id, "@everyone", position=0)}
    big = Guild(guild_id, f"Big guild of {members:,}", people[0].id, roles, {channel.id: channel}, guild_members)
    sandbox.emit_guild_create(world.add_guild(big))
    return {"guild": guild_id}


def _restore_overwrite(channel: Channel, user_id: str, before: Overwrite | None) -> None:
    if before is None:
        channel.overwrites.pop(user_id, None)
    else:
        channel.overwrites[user_id] = before


def _emit_updates(sandbox: Sandbox, guild: Guild, roles: list[Role], channels: list[Channel]) -> None:
    for role in roles:
        sandbox.emit("GUILD_ROLE_UPDATE", {"guild_id": guild.id, "role": payloads.role(role)}, guild.id)
    for channel in channels:
        sandbox.emit_channel_event("CHANNEL_UPDATE", channel)
    sandbox.changed()

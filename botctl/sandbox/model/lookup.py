"""Find users, channels and roles by ``wanted``, what a person types: a name in any case, a mention or an id."""

from __future__ import annotations

from collections.abc import Iterable

from botctl.core.errors import UsageError
from botctl.sandbox.model.world import Channel, Guild, Member, Role, User, World


def strip_mention(word: str) -> str:
    """``word`` without the marks of a mention: ``<@1>``, ``<@&1>``, ``<#1>``, ``@ann``, ``#general``."""
    return word.strip().removeprefix("<").removesuffix(">").lstrip("@#&!")


def guild(world: World, wanted: str | None) -> Guild:
    """The guild ``wanted``; the first guild for None."""
    if wanted is None:
        return next(iter(world.guilds.values()))
    for guild in world.guilds.values():
        if wanted == guild.id or wanted.casefold() == guild.name.casefold():
            return guild
    raise _not_found("guild", wanted, (guild.name for guild in world.guilds.values()))


def channel(guild: Guild, wanted: str | None) -> Channel:
    """The channel or thread ``wanted``; the first channel for None."""
    if wanted is None:
        return next(iter(guild.channels.values()))
    channel = channel_or_none(guild, wanted)
    if channel is None:
        raise _not_found("channel", wanted, ("#" + channel.name for channel in guild.channels.values()))
    return channel


def member(world: World, guild: Guild, wanted: str | None) -> Member:
    """The member ``wanted``; the guild's owner for None."""
    member = member_or_none(world, guild, wanted or guild.owner_id)
    if member is None:
        raise _not_found("member", wanted or guild.owner_id, (world.users[user_id].name for user_id in guild.members))
    return member


def user(world: World, wanted: str) -> User:
    """The user ``wanted``. Like all functions without ``_or_none`` it raises UsageError when nothing is found."""
    user = user_or_none(world, wanted)
    if user is None:
        raise UsageError(f"There is no user “{wanted}” in the sandbox.")
    return user


def role(guild: Guild, wanted: str) -> Role:
    role = role_or_none(guild, wanted)
    if role is None:
        raise _not_found("role", wanted, (role.name for role in guild.roles.values()))
    return role


def channel_or_none(guild: Guild, wanted: str) -> Channel | None:
    word = strip_mention(wanted).casefold()
    channels = (*guild.channels.values(), *guild.threads.values())
    return next((channel for channel in channels if word in (channel.id, channel.name.casefold())), None)


def role_or_none(guild: Guild, wanted: str) -> Role | None:
    word = strip_mention(wanted).casefold()
    return next((role for role in guild.roles.values() if word in (role.id, role.name.lstrip("@").casefold())), None)


def user_or_none(world: World, wanted: str) -> User | None:
    word = strip_mention(wanted)
    return world.users.get(word) or world.users.get(world.user_ids.get(word.casefold(), ""))


def member_or_none(world: World, guild: Guild, wanted: str) -> Member | None:
    user = user_or_none(world, wanted)
    return guild.members.get(user.id) if user else None


def _not_found(kind: str, wanted: str, existing: Iterable[str]) -> UsageError:
    names = list(existing)[:10]
    return UsageError(f"There is no {kind} “{wanted}” in the sandbox.", hint=f"Use one of: {', '.join(names)}.")

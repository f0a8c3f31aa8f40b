"""Finding people, places and roles by what a person types: a name in any case, a mention, or an id."""

from __future__ import annotations

from collections.abc import Iterable

from botctl.core.errors import UsageError
from botctl.sandbox.model.world import Channel, Guild, Member, Role, User, World


def strip_mention(word: str) -> str:
    """``word`` without the decoration of a mention: ``<@1>``, ``<@&1>``, ``<#1>``, ``@ann``, ``#general``."""
    return word.strip().removeprefix("<").removesuffix(">").lstrip("@#&!")


def guild(world: World, wanted: str | None) -> Guild:
    """The guild named ``wanted``; the first one for None."""
    if wanted is None:
        return next(iter(world.guilds.values()))
    for one in world.guilds.values():
        if wanted == one.id or wanted.casefold() == one.name.casefold():
            return one
    raise _not_found("guild", wanted, (one.name for one in world.guilds.values()))


def channel(guild: Guild, wanted: str | None) -> Channel:
    """The channel or thread named ``wanted``; the first channel for None."""
    if wanted is None:
        return next(iter(guild.channels.values()))
    found = channel_or_none(guild, wanted)
    if found is None:
        raise _not_found("channel", wanted, ("#" + one.name for one in guild.channels.values()))
    return found


def member(world: World, guild: Guild, wanted: str | None) -> Member:
    """The member named ``wanted``; the guild's owner for None."""
    found = member_or_none(world, guild, wanted or guild.owner_id)
    if found is None:
        raise _not_found("member", wanted or guild.owner_id, (world.users[one].name for one in guild.members))
    return found


def user(world: World, wanted: str) -> User:
    """Anybody, in whichever guild."""
    found = user_or_none(world, wanted)
    if found is None:
        raise UsageError(f"There is nobody called “{wanted}”.")
    return found


def role(guild: Guild, wanted: str) -> Role:
    found = role_or_none(guild, wanted)
    if found is None:
        raise _not_found("role", wanted, (one.name for one in guild.roles.values()))
    return found


def channel_or_none(guild: Guild, wanted: str) -> Channel | None:
    word = strip_mention(wanted).casefold()
    there = (*guild.channels.values(), *guild.threads.values())
    return next((one for one in there if word in (one.id, one.name.casefold())), None)


def role_or_none(guild: Guild, wanted: str) -> Role | None:
    word = strip_mention(wanted).casefold()
    return next((one for one in guild.roles.values() if word in (one.id, one.name.lstrip("@").casefold())), None)


def user_or_none(world: World, wanted: str) -> User | None:
    word = strip_mention(wanted)
    return world.users.get(word) or world.users.get(world.user_ids.get(word.casefold(), ""))


def member_or_none(world: World, guild: Guild, wanted: str) -> Member | None:
    found = user_or_none(world, wanted)
    return guild.members.get(found.id) if found else None


def _not_found(what: str, wanted: str, there: Iterable[str]) -> UsageError:
    names = list(there)[:10]
    return UsageError(f"There is no {what} “{wanted}” in the sandbox.", hint=f"There is: {', '.join(names)}.")

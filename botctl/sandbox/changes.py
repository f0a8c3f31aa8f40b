"""Changing who and what there is in the world while bots look on: members, roles, guilds."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from botctl.core.errors import UsageError
from botctl.core.guilds import LOCALES
from botctl.sandbox import audit, command_permissions, lookup, moderation, payloads, permissions
from botctl.sandbox.audit import Action
from botctl.sandbox.server import Sandbox
from botctl.sandbox.world import Application, AuditEntry, Channel, Guild, Member, Overwrite, Role, User, discord_time

Json = dict[str, Any]


def add_member(sandbox: Sandbox, said: Json) -> Json:
    """``{"name", "roles": [names], "nick"?, "locale"?, "id"?, "guild"?}``: a new person, who joins the guild."""
    world = sandbox.world
    guild = lookup.guild(world, said.get("guild"))
    name = str(said.get("name") or "")
    if not name or lookup.member_or_none(world, guild, name):
        raise UsageError(f"A new member needs a name that nobody has, and “{name}” is not one.")
    roles = [lookup.role(guild, str(role)).id for role in said.get("roles") or []]
    known = world.names.get(name.casefold())
    if known in guild.bans:
        raise UsageError(f"{name} is banned from {guild.name}.", hint="First: unban.")
    user = world.users[known] if known else world.add_user(User(_id(sandbox, said), name))
    user.locale = str(said.get("locale") or user.locale)
    guild.members[user.id] = member = Member(user.id, roles, joined_at=world.timestamp(), nick=said.get("nick"))
    sandbox.emit("GUILD_MEMBER_ADD", {**payloads.member(member, world), "guild_id": guild.id}, guild.id)
    sandbox.changed()
    return {"id": user.id}


def add_role(sandbox: Sandbox, said: Json) -> Json:
    """``{"name", "permissions"?, "id"?, "guild"?}``."""
    guild = lookup.guild(sandbox.world, said.get("guild"))
    role = Role(_id(sandbox, said), str(said["name"]), permissions=int(said.get("permissions") or 0))
    guild.roles[role.id] = role
    sandbox.emit("GUILD_ROLE_CREATE", {"guild_id": guild.id, "role": payloads.role(role)}, guild.id)
    sandbox.changed()
    return {"id": role.id}


def add_channel(sandbox: Sandbox, said: Json) -> Json:
    """``{"name", "id"?, "guild"?}``: a text channel."""
    guild = lookup.guild(sandbox.world, said.get("guild"))
    made = Channel(_id(sandbox, said), guild.id, str(said["name"]), position=len(guild.channels))
    sandbox.world.add_channel(made)
    sandbox.emit("CHANNEL_CREATE", payloads.channel(made), guild.id, channel=made)
    sandbox.changed()
    return {"id": made.id}


def add_guild(sandbox: Sandbox, said: Json) -> Json:
    """``{"name", "members": [names of people who exist]?}``: a guild with one channel, which every bot joins."""
    world = sandbox.world
    people = [_person(sandbox, str(name)) for name in said.get("members") or []]
    guild_id = world.new_id()
    owner = people[0].id if people else next(one.id for one in world.users.values() if not one.bot)
    everyone, channel = Role(guild_id, "@everyone", position=0), Channel(world.new_id(), guild_id, "general")
    joined = dict.fromkeys([owner, *(one.id for one in people), *world.applications])
    guild = world.add_guild(
        Guild(
            guild_id,
            str(said["name"]),
            owner,
            roles={guild_id: everyone},
            channels={channel.id: channel},
            members={user_id: Member(user_id, joined_at=world.timestamp()) for user_id in joined},
        )
    )
    sandbox.guild_joined(guild)
    return {"id": guild.id, "channel": channel.id}


def close_dms(sandbox: Sandbox, said: Json) -> Json:
    """``{"member", "closed"?, "guild"?}``: nobody can write to this person any more, until ``closed`` is false."""
    guild = lookup.guild(sandbox.world, said.get("guild"))
    user = sandbox.world.users[lookup.member(sandbox.world, guild, str(said["member"])).user_id]
    user.closed_dms = bool(said.get("closed", True))
    sandbox.changed()
    return {"id": user.id}


def give_role(sandbox: Sandbox, said: Json) -> Json:
    """``{"member", "role", "guild"?}``."""
    guild, member, role = _member_and_role(sandbox, said)
    if role.id not in member.roles:
        member.roles.append(role.id)
        sandbox.member_changed(guild, member)
    return {"id": role.id}


def remove_role(sandbox: Sandbox, said: Json) -> Json:
    """``{"member", "role", "guild"?}``."""
    guild, member, role = _member_and_role(sandbox, said)
    if role.id in member.roles:
        member.roles.remove(role.id)
        sandbox.member_changed(guild, member)
    return {"id": role.id}


def edit_role(sandbox: Sandbox, said: Json) -> Json:
    """``{"role", "name"?, "permissions"?, "allow": [permissions]?, "deny": [permissions]?, "guild"?}``: what the role
    may is set, or changed by what ``allow`` and ``deny`` name.
    """
    guild = lookup.guild(sandbox.world, said.get("guild"))
    role = lookup.role(guild, str(said["role"]))
    before = payloads.role(role)
    granted = role.permissions if said.get("permissions") is None else int(said["permissions"])
    role.permissions = (granted | _bits(said, "allow")) & ~_bits(said, "deny")
    role.name = str(said.get("name") or role.name)
    moderation.role_changed(sandbox, guild, role)
    _note(sandbox, guild, Action.ROLE_UPDATE, role.id, changes=audit.changed(before, payloads.role(role)))
    return {"id": role.id, "permissions": str(role.permissions)}


def set_overwrite(sandbox: Sandbox, said: Json) -> Json:
    """``{"channel", "role" or "member", "allow": [permissions]?, "deny": [permissions]?, "guild"?}``: what the channel
    allows and denies them; with neither, nothing any more.
    """
    guild = lookup.guild(sandbox.world, said.get("guild"))
    channel = lookup.channel(guild, str(said["channel"]))
    kind = 0 if said.get("member") is None else 1
    member = lookup.member(sandbox.world, guild, str(said["member"])) if kind else None
    target = member.user_id if member else lookup.role(guild, str(said["role"])).id
    wanted = Overwrite(target, kind, _bits(said, "allow"), _bits(said, "deny"))
    after = {key: one for key, one in channel.overwrites.items() if key != target}
    moderation.set_overwrites(sandbox, channel, after | ({target: wanted} if wanted.allow | wanted.deny else {}))
    return {"id": target}


def remove_member(sandbox: Sandbox, said: Json) -> Json:
    """``{"member", "kicked"?, "reason"?, "guild"?}``: the member leaves, or the owner kicks it."""
    guild, member = _member(sandbox, said)
    moderation.remove(sandbox, guild, member)
    if said.get("kicked"):
        _note(sandbox, guild, Action.MEMBER_KICK, member.user_id, reason=said.get("reason"))
    return {"id": member.user_id}


def ban(sandbox: Sandbox, said: Json) -> Json:
    """``{"user", "reason"?, "delete_s"?, "guild"?}``: by the owner."""
    guild, user = lookup.guild(sandbox.world, said.get("guild")), _person(sandbox, str(said["user"]))
    moderation.ban(sandbox, guild, user.id, said.get("reason"), int(said.get("delete_s") or 0))
    _note(sandbox, guild, Action.MEMBER_BAN_ADD, user.id, reason=said.get("reason"))
    return {"id": user.id}


def unban(sandbox: Sandbox, said: Json) -> Json:
    """``{"user", "guild"?}``: by the owner."""
    guild, user = lookup.guild(sandbox.world, said.get("guild")), _person(sandbox, str(said["user"]))
    moderation.unban(sandbox, guild, user.id)
    _note(sandbox, guild, Action.MEMBER_BAN_REMOVE, user.id)
    return {"id": user.id}


def timeout(sandbox: Sandbox, said: Json) -> Json:
    """``{"member", "seconds", "guild"?}``: by the owner; 0 ends it."""
    guild, member = _member(sandbox, said)
    before, seconds = payloads.partial_member(member), float(said["seconds"])
    end = sandbox.clock.now() + timedelta(seconds=seconds)
    member.timeout_until = discord_time(end) if seconds > 0 else None
    sandbox.member_changed(guild, member)
    changes = audit.changed(before, payloads.partial_member(member))
    _note(sandbox, guild, Action.MEMBER_UPDATE, member.user_id, changes=changes)
    return {"id": member.user_id, "until": member.timeout_until}


def set_locale(sandbox: Sandbox, said: Json) -> Json:
    """``{"user", "locale"}``: the language of a person's client, or ``{"guild", "locale"}``: that of a guild."""
    locale = str(said["locale"])
    if locale not in LOCALES:
        raise UsageError(f"“{locale}” is no language of Discord.", hint=f"Languages: {', '.join(sorted(LOCALES))}.")
    if said.get("user") is not None:
        user = _person(sandbox, str(said["user"]))
        user.locale = locale
        sandbox.changed()
        return {"id": user.id}
    guild = lookup.guild(sandbox.world, str(said["guild"]))
    guild.locale = locale
    sandbox.emit("GUILD_UPDATE", payloads.guild(guild, sandbox.world), guild.id)
    sandbox.changed()
    return {"id": guild.id}


def set_command_permissions(sandbox: Sandbox, said: Json) -> Json:
    """``{"command"?, "roles"?, "members"?, "channels"?: {name: may it?}, "bot"?, "guild"?}``: who may use a command of
    the bot, or all of them, as the owner says in the guild's settings. The role "everyone" and the channel "all" stand
    for all.
    """
    world, guild = sandbox.world, lookup.guild(sandbox.world, said.get("guild"))
    app = _application(sandbox, said.get("bot"))
    listed = [
        {"id": key, "type": kind, "permission": bool(on)}
        for kind, found in (
            (command_permissions.ROLE, {lookup.role(guild, key).id: on for key, on in _map(said, "roles")}),
            (command_permissions.USER, {_person(sandbox, key).id: on for key, on in _map(said, "members")}),
            (command_permissions.CHANNEL, {_place(guild, key): on for key, on in _map(said, "channels")}),
        )
        for key, on in found.items()
    ]
    wanted = said.get("command")
    target = app.id if wanted is None else _command(app, guild, str(wanted))
    made = command_permissions.put(sandbox, app, guild, target, listed, by=guild.owner_id)
    return {"id": target, "permissions": made["permissions"], "bot": world.users[app.id].name}


CHANGES: dict[str, Callable[[Sandbox, Json], Json]] = {
    one.__name__: one
    for one in (
        *(add_member, add_role, add_channel, add_guild, close_dms, give_role, remove_role, edit_role, set_overwrite),
        *(remove_member, ban, unban, timeout, set_locale, set_command_permissions),
    )
}


def apply(sandbox: Sandbox, name: str, said: Any) -> Json:
    """Do the change called ``name``; raises UsageError when it is none, or said wrongly."""
    change = CHANGES.get(name)
    if change is None:
        raise UsageError(f"There is no change “{name}”.", hint=f"Changes: {', '.join(CHANGES)}.")
    try:
        return change(sandbox, said)
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        shown = f"{type(error).__name__}: {error}"
        raise UsageError(f"{name} cannot be done with {json.dumps(said)}.", hint=shown) from None


def _id(sandbox: Sandbox, said: Json) -> str:
    """The id that was asked for, or a new one."""
    wanted = said.get("id")
    return sandbox.world.new_id() if wanted is None else str(int(wanted))


def _person(sandbox: Sandbox, name: str) -> User:
    users = sandbox.world.users
    found = users.get(name) or users.get(sandbox.world.names.get(name.casefold(), ""))
    if found is None:
        raise UsageError(f"There is nobody called “{name}”.")
    return found


def _member(sandbox: Sandbox, said: Json) -> tuple[Guild, Member]:
    guild = lookup.guild(sandbox.world, said.get("guild"))
    return guild, lookup.member(sandbox.world, guild, str(said["member"]))


def _bits(said: Json, name: str) -> int:
    """The permissions that the list ``name`` names."""
    return permissions.bits(*(str(one) for one in said.get(name) or []))


def _map(said: Json, name: str) -> list[tuple[str, Any]]:
    return list((said.get(name) or {}).items())


def _place(guild: Guild, name: str) -> str:
    return command_permissions.all_channels(guild) if name == "all" else lookup.channel(guild, name).id


def _application(sandbox: Sandbox, name: str | None) -> Application:
    """The one whose bot is called ``name``; the first one for None."""
    applications = sandbox.world.applications
    if name is None:
        return next(iter(applications.values()))
    found = applications.get(_person(sandbox, name).id)
    if found is None:
        raise UsageError(f"{name} is no bot.")
    return found


def _command(app: Application, guild: Guild, name: str) -> str:
    there = (*app.commands.get(guild.id, {}).values(), *app.commands.get("", {}).values())
    for one in there:
        if name.removeprefix("/") == one["name"]:
            return str(one["id"])
    raise UsageError(f"{app.name} has no command “{name}” here.")


def _note(
    sandbox: Sandbox,
    guild: Guild,
    action: Action,
    target_id: str,
    *,
    changes: list[Json] | None = None,
    reason: str | None = None,
) -> None:
    """Write down what the owner did."""
    entry_id = sandbox.world.new_id()
    audit.record(sandbox, guild, AuditEntry(entry_id, guild.owner_id, action, target_id, changes or [], reason))


def _member_and_role(sandbox: Sandbox, said: Json) -> tuple[Guild, Member, Role]:
    guild = lookup.guild(sandbox.world, said.get("guild"))
    member = lookup.member(sandbox.world, guild, str(said["member"]))
    return guild, member, lookup.role(guild, str(said["role"]))

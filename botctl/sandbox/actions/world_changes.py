"""Changes to members, roles, channels and guilds, with their events; docstrings: the ``body`` (``?``: optional)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from botctl.core.contracts.guild_settings import LOCALES
from botctl.core.errors import UsageError
from botctl.sandbox.actions import owner_changes as owner
from botctl.sandbox.model import lookup, payloads
from botctl.sandbox.model.world import Channel, Guild, Member, Role, User
from botctl.sandbox.sandbox import Sandbox

Json = dict[str, Any]


def add_member(sandbox: Sandbox, body: Json) -> Json:
    """``{"name", "roles": [names], "nick"?, "locale"?, "id"?, "guild"?}``: a new user who joins the guild."""
    world = sandbox.world
    guild = lookup.guild(world, body.get("guild"))
    name = str(body.get("name") or "")
    if not name or lookup.member_or_none(world, guild, name):
        raise UsageError(f"A new member needs an unused name; “{name}” is missing or taken.")
    roles = [lookup.role(guild, str(role)).id for role in body.get("roles") or []]
    known = world.user_ids.get(name.casefold())
    if known in guild.bans:
        raise UsageError(f"{name} is banned from {guild.name}.", hint="Use unban first.")
    user = world.users[known] if known else world.add_user(User(_requested_id(sandbox, body), name))
    user.locale = str(body.get("locale") or user.locale)
    guild.members[user.id] = member = Member(user.id, roles, joined_at=world.timestamp(), nick=body.get("nick"))
    sandbox.emit("GUILD_MEMBER_ADD", {**payloads.member(member, world), "guild_id": guild.id}, guild.id)
    sandbox.changed()
    return {"id": user.id}


def add_role(sandbox: Sandbox, body: Json) -> Json:
    """``{"name", "permissions"?, "id"?, "guild"?}``."""
    guild = lookup.guild(sandbox.world, body.get("guild"))
    role = Role(_requested_id(sandbox, body), str(body["name"]), permissions=int(body.get("permissions") or 0))
    guild.roles[role.id] = role
    sandbox.emit("GUILD_ROLE_CREATE", {"guild_id": guild.id, "role": payloads.role(role)}, guild.id)
    sandbox.changed()
    return {"id": role.id}


def add_channel(sandbox: Sandbox, body: Json) -> Json:
    """``{"name", "id"?, "guild"?}``: a text channel."""
    guild = lookup.guild(sandbox.world, body.get("guild"))
    channel = Channel(_requested_id(sandbox, body), guild.id, str(body["name"]), position=len(guild.channels))
    sandbox.world.add_channel(channel)
    sandbox.emit_channel_event("CHANNEL_CREATE", channel)
    return {"id": channel.id}


def add_guild(sandbox: Sandbox, body: Json) -> Json:
    """``{"name", "members": [names of users]?, "id"?}``: a guild with one channel, which every bot joins."""
    world = sandbox.world
    people = [lookup.user(sandbox.world, str(name)) for name in body.get("members") or []]
    guild_id = _requested_id(sandbox, body)
    owner = people[0].id if people else next(user.id for user in world.users.values() if not user.bot)
    everyone, channel = Role(guild_id, "@everyone", position=0), Channel(world.new_id(), guild_id, "general")
    joined = dict.fromkeys([owner, *(person.id for person in people), *world.applications])
    guild = world.add_guild(
        Guild(
            guild_id,
            str(body["name"]),
            owner,
            roles={guild_id: everyone},
            channels={channel.id: channel},
            members={user_id: Member(user_id, joined_at=world.timestamp()) for user_id in joined},
        )
    )
    sandbox.emit_guild_create(guild)
    return {"id": guild.id, "channel": channel.id}


def close_dms(sandbox: Sandbox, body: Json) -> Json:
    """``{"member", "closed"?, "guild"?}``: the user accepts no DMs; with ``closed`` false they do again."""
    guild = lookup.guild(sandbox.world, body.get("guild"))
    user = sandbox.world.users[lookup.member(sandbox.world, guild, str(body["member"])).user_id]
    user.closed_dms = bool(body.get("closed", True))
    sandbox.changed()
    return {"id": user.id}


def give_role(sandbox: Sandbox, body: Json) -> Json:
    """``{"member", "role", "guild"?}``."""
    guild, member, role = _member_and_role(sandbox, body)
    if role.id not in member.roles:
        member.roles.append(role.id)
        sandbox.emit_member_update(guild, member)
    return {"id": role.id}


def remove_role(sandbox: Sandbox, body: Json) -> Json:
    """``{"member", "role", "guild"?}``."""
    guild, member, role = _member_and_role(sandbox, body)
    if role.id in member.roles:
        member.roles.remove(role.id)
        sandbox.emit_member_update(guild, member)
    return {"id": role.id}


def set_locale(sandbox: Sandbox, body: Json) -> Json:
    """``{"user", "locale"}`` for the user's client, or ``{"guild", "locale"}``."""
    locale = str(body["locale"])
    if locale not in LOCALES:
        raise UsageError(f"“{locale}” is not a Discord locale.", hint=f"Locales: {', '.join(sorted(LOCALES))}.")
    if body.get("user") is not None:
        user = lookup.user(sandbox.world, str(body["user"]))
        user.locale = locale
        sandbox.changed()
        return {"id": user.id}
    guild = lookup.guild(sandbox.world, str(body["guild"]))
    guild.locale = locale
    sandbox.emit("GUILD_UPDATE", payloads.guild(guild, sandbox.world), guild.id)
    sandbox.changed()
    return {"id": guild.id}


def set_redirects(sandbox: Sandbox, body: Json) -> Json:
    """``{"uris", "bot"?}``: where OAuth2 may redirect to. An empty list allows each address of this machine."""
    app = owner.find_application(sandbox, body.get("bot"))
    app.settings["redirect_uris"] = [str(uri) for uri in body["uris"]]
    sandbox.changed()
    return {"id": app.id}


CHANGES: dict[str, Callable[[Sandbox, Json], Json]] = {
    change.__name__: change
    for change in (
        *(add_member, add_role, add_channel, add_guild, close_dms, give_role, remove_role, set_locale, set_redirects),
        *(owner.edit_role, owner.set_overwrite, owner.remove_member, owner.ban, owner.unban, owner.timeout),
        owner.set_command_permissions,
    )
}


def apply(sandbox: Sandbox, name: str, body: Any) -> Json:
    """Make the change ``name``. Raises UsageError when it is unknown or ``body`` is invalid."""
    change = CHANGES.get(name)
    if change is None:
        raise UsageError(f"There is no change “{name}”.", hint=f"Changes: {', '.join(CHANGES)}.")
    try:
        return change(sandbox, body)
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"{name} does not accept {json.dumps(body)}.", hint=reason) from None


def _requested_id(sandbox: Sandbox, body: Json) -> str:
    wanted = body.get("id")
    return sandbox.world.new_id() if wanted is None else str(int(wanted))


def _member_and_role(sandbox: Sandbox, body: Json) -> tuple[Guild, Member, Role]:
    guild = lookup.guild(sandbox.world, body.get("guild"))
    member = lookup.member(sandbox.world, guild, str(body["member"]))
    return guild, member, lookup.role(guild, str(body["role"]))

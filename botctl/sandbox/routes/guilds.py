"""Guilds, their channels, roles and members, and users."""

from __future__ import annotations

from typing import Any

from botctl.sandbox import payloads
from botctl.sandbox.refusal import unknown
from botctl.sandbox.rest import Call, route
from botctl.sandbox.world import Guild, Member

Json = dict[str, Any]
GUILD = "/guilds/{guild}"
MEMBERS = "/guilds/{guild}/members"


@route("GET", GUILD)
def get_guild(call: Call) -> Json:
    guild = _guild(call)
    counts = {"approximate_member_count": len(guild.members), "approximate_presence_count": 0}
    shown = payloads.guild(guild, call.sandbox.world)
    return {**shown, **counts} if call.flag("with_counts") else shown


@route("GET", GUILD + "/channels")
def list_channels(call: Call) -> list[Json]:
    return [payloads.channel(one) for one in _guild(call).channels.values()]


@route("GET", GUILD + "/roles")
def list_roles(call: Call) -> list[Json]:
    return [payloads.role(one) for one in _guild(call).roles.values()]


@route("GET", MEMBERS)
def list_members(call: Call) -> list[Json]:
    guild, limit, after = _guild(call), call.limit(1, 1000), int(call.query.get("after") or 0)
    later = sorted(int(user_id) for user_id in guild.members if int(user_id) > after)
    return [payloads.member(guild.members[str(one)], call.sandbox.world) for one in later[:limit]]


@route("GET", MEMBERS + "/{user}")
def get_member(call: Call) -> Json:
    return payloads.member(_member(call, _guild(call)), call.sandbox.world)


@route("PUT", MEMBERS + "/{user}/roles/{role}")
def give_role(call: Call) -> None:
    guild = _guild(call)
    member, role_id = _member(call, guild), _role_id(call, guild)
    if role_id not in member.roles:
        member.roles.append(role_id)
        call.sandbox.member_changed(guild, member)


@route("DELETE", MEMBERS + "/{user}/roles/{role}")
def take_role(call: Call) -> None:
    guild = _guild(call)
    member, role_id = _member(call, guild), _role_id(call, guild)
    if role_id in member.roles:
        member.roles.remove(role_id)
        call.sandbox.member_changed(guild, member)


@route("GET", "/users/{user}")
def get_user(call: Call) -> Json:
    found = call.sandbox.world.users.get(call.path["user"])
    if found is None:
        raise unknown("User")
    return payloads.user(found)


def _guild(call: Call) -> Guild:
    found = call.sandbox.world.guilds.get(call.path["guild"])
    if found is None:
        raise unknown("Guild")
    return found


def _member(call: Call, guild: Guild) -> Member:
    found = guild.members.get(call.path["user"])
    if found is None:
        raise unknown("Member")
    return found


def _role_id(call: Call, guild: Guild) -> str:
    if call.path["role"] not in guild.roles:
        raise unknown("Role")
    return call.path["role"]

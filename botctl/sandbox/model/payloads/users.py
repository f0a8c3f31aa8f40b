"""The JSON of users and members (Discord: User resource, Guild resource > Guild Member Object)."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.model.world import Member, User, World

Json = dict[str, Any]


def user(user: User) -> Json:
    payload: Json = {
        "id": user.id,
        "username": user.name,
        "discriminator": "0",
        "global_name": user.global_name,
        "avatar": None,
        "public_flags": 0,
        "flags": 0,
        "primary_guild": None,
    }
    return {**payload, "bot": True} if user.bot else payload


def current_user(bot: User) -> Json:
    return {**user(bot), "verified": True, "mfa_enabled": True, "locale": "en-US", "email": None}


def member(member: Member, world: World) -> Json:
    return {**partial_member(member), "user": user(world.users[member.user_id])}


def partial_member(member: Member) -> Json:
    """A member without the user object, as in messages."""
    return {
        "nick": member.nick,
        "avatar": None,
        "banner": None,
        "roles": member.roles,
        "joined_at": member.joined_at,
        "premium_since": None,
        "communication_disabled_until": member.timeout_until,
        "deaf": member.deaf,
        "mute": member.mute,
        "pending": False,
        "flags": 0,
    }


def resolved_member(member: Member, permissions: int) -> Json:
    """A member in ``resolved`` of an interaction: without ``deaf`` and ``mute`` (Discord: Resolved Data Structure)."""
    payload = {key: value for key, value in partial_member(member).items() if key not in ("deaf", "mute")}
    return {**payload, "permissions": str(permissions)}


def invoking_member(invoker: Member, permissions: int, world: World) -> Json:
    """The member who used an interaction."""
    return {**member(invoker, world), "permissions": str(permissions)}

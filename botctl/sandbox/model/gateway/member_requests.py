"""The response to opcode 8 of the gateway (Discord: Gateway Events > Request Guild Members)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botctl.sandbox.model import payloads
from botctl.sandbox.model.world import Guild, Member, World

Json = dict[str, Any]
_CHUNK_MAX = 1000  # members in one GUILD_MEMBERS_CHUNK
_REQUESTED_MAX = 100  # members that are requested by the start of their name, or by ids
_NONCE_MAX = 32  # bytes; a longer one is not returned


def wants_all(request: Json) -> bool:
    return request.get("user_ids") is None and not request.get("query")


def echoed_nonce(request: Json) -> Json:
    """``{"nonce": …}``, which the response repeats; ``{}`` when the nonce is invalid."""
    nonce = request.get("nonce")
    fits = isinstance(nonce, str) and len(nonce.encode(errors="replace")) <= _NONCE_MAX
    return {"nonce": nonce} if fits else {}


def chunks(world: World, guild: Guild, request: Json, *, presences: bool) -> Iterator[Json]:
    """The data of each GUILD_MEMBERS_CHUNK, at least one. ``presences``: the bot has the intent GUILD_PRESENCES."""
    ids = _requested_ids(request)
    members = guild.members
    members_found = (
        _find_by_query(world, guild, request)
        if ids is None
        else [members[user_id] for user_id in ids if user_id in members]
    )
    parts = [members_found[start : start + _CHUNK_MAX] for start in range(0, len(members_found), _CHUNK_MAX)] or [[]]
    # Users of the sandbox are never online, and offline members have no presence.
    extra = echoed_nonce(request) | ({"presences": []} if presences and request.get("presences") is True else {})
    for index, part in enumerate(parts):
        yield {
            "guild_id": guild.id,
            "members": [payloads.member(member, world) for member in part],
            "chunk_index": index,
            "chunk_count": len(parts),
            "not_found": [user_id for user_id in ids or () if user_id not in members],
            **extra,
        }


def _requested_ids(request: Json) -> list[str] | None:
    """The requested ids: the field ``user_ids`` is one id or a list; None when it is absent."""
    user_ids = request.get("user_ids")
    if user_ids is None:
        return None
    return [str(user_id) for user_id in (user_ids if isinstance(user_ids, list) else [user_ids])[:_REQUESTED_MAX]]


def _find_by_query(world: World, guild: Guild, request: Json) -> list[Member]:
    prefix, limit = str(request.get("query") or "").casefold(), request.get("limit")
    matching = [
        member for member in guild.members.values() if world.users[member.user_id].name.casefold().startswith(prefix)
    ]
    most = limit if type(limit) is int and limit > 0 else None
    return matching[: min(most or _REQUESTED_MAX, _REQUESTED_MAX)] if prefix else matching[:most]

"""Gather the evidence about the application and its guilds at Discord."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from botctl.doctor.discord_api import DiscordAnswer, DiscordReader
from botctl.doctor.intents import ReachEvidence
from botctl.doctor.permission_names import ADMINISTRATOR
from botctl.doctor.permissions import GuildRights, bits_in_channel, rights_of_member

_PAGE: Final = 200  # Discord: User > Get Current User Guilds
_MAX_PAGES: Final = 100


@dataclass(frozen=True, slots=True)
class GuildList:
    """``guilds``: Discord's partial guilds, with counts. ``complete``: whether they are all."""

    guilds: tuple[Mapping[str, Any], ...]
    complete: bool


async def read_guilds(discord: DiscordReader, *, max_pages: int = _MAX_PAGES) -> GuildList:
    """The guilds of the bot, page by page, until one is refused or ``max_pages`` were read."""
    guilds: list[Mapping[str, Any]] = []
    after = "0"
    for _ in range(max_pages):
        answer = await discord.get("/users/@me/guilds", {"limit": str(_PAGE), "after": after, "with_counts": "true"})
        page = _objects(answer)
        if page is None:
            return GuildList(tuple(guilds), complete=False)
        guilds += page
        if len(page) < _PAGE:
            return GuildList(tuple(guilds), complete=True)
        after = str(page[-1].get("id"))
    return GuildList(tuple(guilds), complete=False)


def _objects(answer: DiscordAnswer) -> list[Mapping[str, Any]] | None:
    if answer.status != HTTPStatus.OK or not isinstance(answer.body, list):
        return None
    return [item for item in answer.body if isinstance(item, dict)]


def reach_of(application: DiscordAnswer, listed: GuildList) -> ReachEvidence | None:
    """None if nothing could be read. ``application``: the answer to GET /applications/@me."""
    if not listed.guilds and not listed.complete:
        return None
    body = application.body if isinstance(application.body, dict) else {}
    counts = [_count(guild.get("approximate_member_count")) for guild in listed.guilds]
    return ReachEvidence(
        sum(count or 0 for count in counts),
        max((count or 0 for count in counts), default=0),
        len(counts),
        _count(body.get("approximate_user_install_count")) or 0,
        complete=listed.complete and None not in counts,
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def listed_rights(listed: GuildList) -> list[GuildRights]:
    """What each guild gives the bot, as Discord sums it up."""
    return [_rights(guild, int(guild.get("permissions") or 0)) for guild in listed.guilds]


async def read_rights(discord: DiscordReader, guild_id: str, user_id: str) -> GuildRights | None:
    """What the guild gives the bot (``user_id``) by its roles. None: it is not in that guild."""
    guild = await discord.get(f"/guilds/{guild_id}")
    member = await discord.get(f"/guilds/{guild_id}/members/{user_id}")
    roles = _objects(await discord.get(f"/guilds/{guild_id}/roles"))
    bodies = (guild.body, member.body)
    statuses = {guild.status, member.status}
    if statuses != {HTTPStatus.OK} or roles is None or not all(isinstance(body, dict) for body in bodies):
        return None
    bits = rights_of_member(guild.body, roles, member.body)
    if guild.body.get("owner_id") == user_id:
        bits = ADMINISTRATOR
    own = {user_id, *map(str, member.body.get("roles") or ())}
    channels = _objects(await discord.get(f"/guilds/{guild_id}/channels")) or []
    in_channels = [
        (str(channel.get("name")), bits_in_channel(bits, channel["permission_overwrites"], guild=guild_id, own=own))
        for channel in channels
        if channel.get("permission_overwrites")
    ]
    return _rights(guild.body, bits, tuple(in_channels))


def _rights(guild: Mapping[str, Any], bits: int, channels: tuple[tuple[str, int], ...] = ()) -> GuildRights:
    return GuildRights(str(guild.get("id")), str(guild.get("name", "?")), bits, channels)

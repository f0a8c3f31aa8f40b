"""Which Discord roles someone has, in the guilds where that could give them a right.

The bot asks Discord itself, guild by guild, and needs no privileged intent for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from botctl.core.clock import Clock
from botctl.core.contracts.access import AccessControl, Holder, HolderType
from botctl.web.discord_api import GUILDS_PER_PAGE, DiscordApi

MAX_GUILDS: Final = 50
"""Guilds of one person that are read, and guilds in which a role without a guild is looked for."""
_CONCURRENT: Final = 5
_FORGET_S: Final = 600.0  # after which a role that was found nowhere is looked for again

_log = logging.getLogger(__name__)


class MemberRoleReader:
    """Reads the member roles of people. Every method raises Unreachable if Discord does not answer."""

    def __init__(self, api: DiscordApi, access: AccessControl, clock: Clock) -> None:
        self._api = api
        self._access = access
        self._clock = clock
        self._guild_of: dict[str, str] = {}
        self._missing_since_s: dict[str, float] = {}
        self._looking = asyncio.Lock()
        self._slots = asyncio.Semaphore(_CONCURRENT)

    def known_guilds(self, user: str) -> frozenset[str]:
        """The guilds to read for ``user``, as far as that is known without asking Discord."""
        roles = self._access.rules.discord_roles()
        without_guild = (self._guild_of.get(role) for role in roles.get(None, ()))
        return self._own_guilds(user).union(filter(None, roles), filter(None, without_guild))

    async def read(self, user: str) -> Mapping[str, frozenset[str]]:
        """The roles of ``user`` by guild, for each guild in which they could have a right."""
        await self._find_guilds()
        guilds = sorted(self.known_guilds(user))
        if len(guilds) > MAX_GUILDS:
            _log.warning("the roles of user %s are read in %d of %d guilds", user, MAX_GUILDS, len(guilds))
        read = await asyncio.gather(*(self._read(guild, user) for guild in guilds[:MAX_GUILDS]))
        return dict.fromkeys(guilds, frozenset[str]()) | dict(read)

    async def _read(self, guild: str, user: str) -> tuple[str, frozenset[str]]:
        async with self._slots:
            return guild, await self._api.member_roles(guild, user)

    def _own_guilds(self, user: str) -> frozenset[str]:
        return self._access.rules.guilds_of(Holder(HolderType.USER, user))

    async def _find_guilds(self) -> None:
        """Find the guild of each Discord role that has a grant without one. A role stays in its guild."""
        async with self._looking:
            now_s = self._clock.monotonic()
            self._missing_since_s = {r: s for r, s in self._missing_since_s.items() if now_s - s < _FORGET_S}
            roles = self._access.rules.discord_roles().get(None, frozenset())
            wanted = roles - self._guild_of.keys() - self._missing_since_s.keys()
            if not wanted:
                return
            guilds = await self._api.guilds()
            for guild in guilds[:MAX_GUILDS]:
                found = wanted & await self._api.guild_roles(guild)
                self._guild_of |= dict.fromkeys(found, guild)
                wanted -= found
                if not wanted:
                    return
            self._missing_since_s |= dict.fromkeys(wanted, now_s)
            if len(guilds) > MAX_GUILDS:
                count = f"{len(guilds)}{'+' if len(guilds) == GUILDS_PER_PAGE else ''}"
                _log.warning(
                    "the bot is in %s guilds; the Discord roles %s were not found in the first %d: name the guild in"
                    " their table [roles.<name>]",
                    count,
                    ", ".join(sorted(wanted)),
                    MAX_GUILDS,
                )

"""Which Discord roles someone has, in the guilds where that could give them a right.

The bot asks Discord itself, guild by guild, and needs no privileged intent for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeVar

from botctl.core.clock import Clock
from botctl.core.contracts.access import AccessControl, Holder, HolderType
from botctl.web.discord_api import GUILDS_PER_PAGE, DiscordApi

MAX_GUILDS: Final = 50
"""Guilds of one person that are read, and guilds in which a role without a guild is looked for."""
_CONCURRENT: Final = 5
_FORGET_S: Final = 600.0  # after which a role that was found nowhere is looked for again

_Key = TypeVar("_Key")
_Answer = TypeVar("_Answer")
_log = logging.getLogger(__name__)


class MemberRoleReader:
    """Reads the member roles of people. Every method raises Unreachable if Discord does not answer."""

    def __init__(self, api: DiscordApi, access: AccessControl, clock: Clock) -> None:
        self._api = api
        self._access = access
        self._clock = clock
        self._guild_of: dict[str, str] = {}
        self._missing_since_s: dict[str, float] = {}
        self._absent_since_s: dict[tuple[str, str], float] = {}  # by role and guild
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
        read = await _gather(self._read(guild, user) for guild in guilds[:MAX_GUILDS])
        return dict.fromkeys(guilds, frozenset[str]()) | dict(read)

    async def _read(self, guild: str, user: str) -> tuple[str, frozenset[str]]:
        async with self._slots:
            return guild, await self._api.member_roles(guild, user)

    def _own_guilds(self, user: str) -> frozenset[str]:
        return self._access.rules.guilds_of(Holder(HolderType.USER, user))

    async def _find_guilds(self) -> None:
        """Find the guild of each Discord role that has a grant without one. A role stays in its guild.

        A search that fails or is cancelled keeps what it has learned, so the next one goes on from there.
        """
        async with self._looking:
            now_s = self._clock.monotonic()
            self._missing_since_s = _recent(self._missing_since_s, now_s)
            self._absent_since_s = _recent(self._absent_since_s, now_s)
            roles = self._access.rules.discord_roles().get(None, frozenset())
            wanted = roles - self._guild_of.keys() - self._missing_since_s.keys()
            if not wanted:
                return
            guilds = await self._api.guilds()
            await _gather(self._look_in(guild, wanted, now_s) for guild in guilds[:MAX_GUILDS])
            if missing := wanted - self._guild_of.keys():
                self._missing_since_s |= dict.fromkeys(missing, now_s)
                _warn_of_unread_guilds(len(guilds), missing)

    async def _look_in(self, guild: str, wanted: AbstractSet[str], now_s: float) -> None:
        """Look for those of the roles ``wanted`` in ``guild`` that may still be there."""
        async with self._slots:
            unknown = {role for role in wanted - self._guild_of.keys() if (role, guild) not in self._absent_since_s}
            if not unknown:
                return
            found = unknown & await self._api.guild_roles(guild)
            self._guild_of |= dict.fromkeys(found, guild)
            self._absent_since_s |= {(role, guild): now_s for role in unknown - found}


async def _gather(questions: Iterable[Coroutine[Any, Any, _Answer]]) -> list[_Answer]:
    """The answers. The first error ends the other questions: they would hold the slots while Discord is down."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(question) for question in questions]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def _recent(since_s: Mapping[_Key, float], now_s: float) -> dict[_Key, float]:
    return {key: at_s for key, at_s in since_s.items() if now_s - at_s < _FORGET_S}


def _warn_of_unread_guilds(guilds: int, missing: AbstractSet[str]) -> None:
    """Say that the roles ``missing`` may be in a guild beyond `MAX_GUILDS`, if the bot is in so many."""
    if guilds > MAX_GUILDS:
        _log.warning(
            "the bot is in %s guilds; the Discord roles %s were not found in the first %d: name the guild in"
            " their table [roles.<name>]",
            f"{guilds}{'+' if guilds == GUILDS_PER_PAGE else ''}",
            ", ".join(sorted(missing)),
            MAX_GUILDS,
        )

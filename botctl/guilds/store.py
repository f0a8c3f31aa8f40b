"""The settings of each guild: stored in MongoDB, read through a cache, changed by compare-and-swap.

Collection ``botctl_guilds``: ``{_id: guild id, revision, locale, disabled: [...], log_channel}``. A guild without
changes has no document. Two changes at the same time both succeed: the later one finds that ``revision`` has changed,
reads the document again and tries again.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from pymongo.errors import DuplicateKeyError
from redis.asyncio import Redis

from botctl.core.clock import Clock
from botctl.core.config.settings import Settings
from botctl.core.contracts.audit_entry import Change, Principal, Target, current_operator, make_entry
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.events import GuildSettingsChanged
from botctl.core.contracts.guild_settings import DEFAULTS, GuildSettings, diff, plain, with_change
from botctl.core.contracts.malformed import malformed_error, value_of
from botctl.core.contracts.protocols import Auditor, GuildSettingsStore
from botctl.core.driver_errors.mongo import reaching_mongo
from botctl.core.errors import Held, UsageError
from botctl.core.processes.runtime import Runtime
from botctl.core.services.tasks import Tasks
from botctl.stores.cache import CACHE_TIMEOUT_S, Cache
from botctl.stores.journal import journaled
from botctl.stores.mongo import Database

COLLECTION: Final = "botctl_guilds"
MAX_ATTEMPTS: Final = 20  # each failed one means that another change succeeded
_reading: Final = reaching_mongo("The settings of this guild cannot be read: MongoDB fails.")
_before_the_write: Final = reaching_mongo("The settings were not changed: MongoDB fails.")
_writing: Final = reaching_mongo(
    "MongoDB failed during the change, and did not say whether the settings were written.",
    hint="When it is back, look at `botctl settings show`.",
)


@dataclass(frozen=True, slots=True)
class GuildSettingsCache:
    """The `GuildSettingsStore`. Nearly every `get` is answered from memory."""

    database: Database
    cache: Cache[GuildSettings]
    bus: Bus
    auditor: Auditor
    clock: Clock

    async def get(self, guild: str) -> GuildSettings:
        """See `GuildSettingsStore`. Raises Unreachable if no cache has them and MongoDB does not answer."""
        with _reading:
            return await self.cache.get(guild) or DEFAULTS

    async def update(self, guild: str, changes: Mapping[str, Any], *, actor: str, reason: str = "") -> GuildSettings:
        """See `GuildSettingsStore`. Also raises Held: other changes came first at each of `MAX_ATTEMPTS` attempts."""
        if actor == "cli":
            return (await self.change(guild, changes, actor=current_operator(), iface="cli", reason=reason))[0]
        return (await self.change(guild, changes, actor=Principal("user", actor), iface="discord", reason=reason))[0]

    async def change(
        self, guild: str, changes: Mapping[str, Any], *, actor: Principal, iface: str = "api", reason: str = ""
    ) -> tuple[GuildSettings, bool]:
        """See `GuildSettingsStore`. Raises as `update`."""
        for _ in range(MAX_ATTEMPTS):
            old = await self._read(guild)
            new = _apply(old, changes)
            if not diff(old, new):
                return old, False
            new = replace(new, revision=old.revision + 1)
            if await self._compare_and_swap(guild, old, new):
                self._publish_change(guild, diff(old, new), actor, iface, reason)
                return new, True
        raise Held("Others are changing these settings all the time.", hint="Try again.")

    async def _read(self, guild: str) -> GuildSettings:
        with _before_the_write:
            return await load(self.database, guild) or DEFAULTS

    async def _compare_and_swap(self, guild: str, old: GuildSettings, new: GuildSettings) -> bool:
        """Replace ``old`` by ``new``. False if ``old`` is out of date."""
        collection = journaled(self.database[COLLECTION])
        values = plain(new) | {"revision": new.revision}
        try:
            with _writing, suppress(DuplicateKeyError):
                if old.revision == 0:
                    await collection.insert_one({"_id": guild} | values)
                    return True
                result = await collection.update_one({"_id": guild, "revision": old.revision}, {"$set": values})
                return result.matched_count == 1
            return False
        finally:
            await self.cache.invalidate(guild)  # also if the write was not confirmed

    def _publish_change(
        self, guild: str, changes: Mapping[str, tuple[Any, Any]], actor: Principal, iface: str, reason: str
    ) -> None:
        shown = {"cli": "cli", "user": actor.id}.get(actor.type, f"{actor.type}:{actor.id}")
        self.bus.publish(GuildSettingsChanged(guild=guild, actor=shown, changes=dict(changes)))
        self.auditor.record(
            make_entry(
                "guild.settings.set",
                actor,
                at=self.clock.now(),
                iface=iface,
                target=Target("guild", guild),
                guild=guild,
                reason=reason or None,
                changes=[Change(key, before, after) for key, (before, after) in changes.items()],
            )
        )


@asynccontextmanager
async def guild_settings_store(
    *,
    database: Database,
    redis: Redis,
    bus: Bus,
    auditor: Auditor,
    clock: Clock,
    settings: Settings,
    runtime: Runtime,
    tasks: Tasks,
) -> AsyncIterator[GuildSettingsStore]:
    # Interactions wait for the cache, so it is given little time; a short verb has what Redis has.
    timeout_s = CACHE_TIMEOUT_S if runtime.long_lived else settings.redis.timeout_s
    cache = guild_cache(database, redis, settings.bot, tasks, timeout_s=timeout_s)
    async with cache.running():
        yield GuildSettingsCache(database, cache, bus, auditor, clock)


def guild_cache(
    database: Database, redis: Redis, bot: str, tasks: Tasks, *, timeout_s: float = CACHE_TIMEOUT_S
) -> Cache[GuildSettings]:
    """The cache of the documents in ``botctl_guilds``."""

    async def load_one(guild: str) -> GuildSettings | None:
        return await load(database, guild)

    return Cache(redis, bot, "guilds", tasks, load_one, encode, decode, timeout_s=timeout_s)


async def load(database: Database, guild: str) -> GuildSettings | None:
    """The settings of ``guild`` in MongoDB; None if it has none.

    Raises PyMongoError if MongoDB does not answer, IntegrityError if the document is malformed.
    """
    document = await database[COLLECTION].find_one({"_id": guild})
    try:
        return None if document is None else _parse(document)
    except ValueError as error:
        raise malformed_error(COLLECTION, {guild: str(error)}) from error


def encode(settings: GuildSettings) -> bytes:
    """``settings`` as bytes for the cache."""
    return json.dumps(plain(settings) | {"revision": settings.revision}).encode()


def decode(data: bytes) -> GuildSettings:
    """The inverse of `encode`. Raises ValueError if ``data`` is not encoded settings."""
    values = json.loads(data)
    if not isinstance(values, dict):
        raise ValueError("these are not the settings of a guild")  # noqa: TRY004  bad data, not a bad call
    return _parse(values)


def _parse(values: Mapping[str, Any]) -> GuildSettings:
    """The settings in ``values``. Raises ValueError if they are malformed."""
    values = {"locale": None, "disabled": None, "log_channel": None, "revision": 0, **values}
    return GuildSettings(
        locale=value_of(values, "locale", str, type(None)),
        disabled=frozenset(map(str, value_of(values, "disabled", list, type(None)) or ())),
        log_channel=value_of(values, "log_channel", str, type(None)),
        revision=value_of(values, "revision", int),
    )


def _apply(settings: GuildSettings, changes: Mapping[str, Any]) -> GuildSettings:
    """The settings after ``changes``. Raises UsageError for a value that is not valid."""
    try:
        for key, value in changes.items():
            settings = with_change(settings, key, value)
    except ValueError as error:
        raise UsageError(f"{error}.") from None
    return settings

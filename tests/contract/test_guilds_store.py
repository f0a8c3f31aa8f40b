"""Guild settings: two stores with their own clients are two processes."""

import asyncio
import json
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pymongo
import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.config.settings import RedisSettings, Settings
from botctl.core.contracts.audit_entry import Principal, encode_line
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.events import GuildSettingsChanged
from botctl.core.contracts.guild_settings import DEFAULTS, LOCALES, GuildSettings
from botctl.core.errors import Unreachable, UsageError
from botctl.core.processes.runtime import Runtime
from botctl.guilds.store import COLLECTION, GuildSettingsCache, decode, encode, guild_cache, guild_settings_store
from botctl.stores import embedded_mongo, mongo, redis
from botctl.stores.cache import CACHE_TIMEOUT_S
from tests.support.clock import ManualClock
from tests.support.stores import server, tasks_for
from tests.support.waiting import LIMIT_S, expires, until

GUILD = "123456789012345678"


@dataclass
class Recorder:
    entries: list = field(default_factory=list)

    def record(self, entry):
        self.entries.append(entry)


@asynccontextmanager
async def store(redis_url, mongo_url, name, *, timeout_s=LIMIT_S):
    async with (
        redis.connect(redis_url, timeout_s=LIMIT_S) as client,
        mongo.connect(mongo_url, timeout_s=timeout_s) as mongo_client,
        tasks_for("guilds") as (tasks, _),
    ):
        database = mongo_client[name]
        cache = guild_cache(database, client, name, tasks)
        async with cache.running():
            await until(lambda: cache.trusted)
            yield GuildSettingsCache(database, cache, Bus(), Recorder(), ManualClock())


@pytest.fixture
async def stores(redis_server, mongo_server):
    name = f"guilds{uuid.uuid4().hex[:12]}"
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(store(redis_server, mongo_server, name)) for _ in range(2)]


async def test_guild_without_changes_has_defaults_and_no_document(stores):
    assert await stores[0].get(GUILD) == DEFAULTS
    assert await stores[0].database[COLLECTION].find_one() is None


async def test_change_is_stored_and_seen_by_other_process(stores):
    store_a, store_b = stores
    await store_b.get(GUILD)
    new = await store_a.update(GUILD, {"locale": "de", "disabled": "roll, poll"}, actor="9")
    assert new == GuildSettings("de", frozenset({"roll", "poll"}), None, revision=1)
    assert await store_a.get(GUILD) == new
    await until(lambda: store_b.cache.counts.invalidations == 1)
    assert await store_b.get(GUILD) == new
    assert await store_a.update(GUILD, {"locale": None, "disabled": "-poll"}, actor="9") == GuildSettings(
        None, frozenset({"roll"}), None, revision=2
    )


async def test_change_is_published_and_audited_with_both_values(stores):
    store_a = stores[0]
    await store_a.update(GUILD, {"locale": "de"}, actor="9")
    with store_a.bus.subscribe(GuildSettingsChanged, name="test") as events:
        await store_a.update(GUILD, {"locale": "fr", "disabled": ["poll"]}, actor="cli")
        (event,) = events.take()
    assert (event.guild, event.actor) == (GUILD, "cli")
    assert event.changes == {"locale": ("de", "fr"), "disabled": ([], ["poll"])}
    first, second = (json.loads(encode_line(entry)) for entry in store_a.auditor.entries)
    assert first["actor"] == {"type": "user", "id": "9"}
    assert first["changes"] == [{"k": "locale", "old": None, "new": "de"}]
    assert (second["actor"]["type"], second["via"]["iface"]) == ("cli", "cli")
    assert second["target"] == {"type": "guild", "id": GUILD}
    assert second["action"] == "guild.settings.set"


async def test_change_of_any_actor_says_whether_it_was_one(stores):
    store_a, key = stores[0], Principal("key", "k", "desk")
    with store_a.bus.subscribe(GuildSettingsChanged, name="test") as events:
        for changed in (True, False):
            new, was_changed = await store_a.change(GUILD, {"locale": "de"}, actor=key, reason="they asked")
            assert (new.locale, new.revision, was_changed) == ("de", 1, changed)
        (event,) = events.take()
    assert event.actor == "key:k"
    (entry,) = store_a.auditor.entries
    assert (entry.actor, entry.reason, entry.via.iface) == (key, "they asked", "api")


async def test_update_with_same_value_is_no_change(stores):
    store_a = stores[0]
    await store_a.update(GUILD, {"locale": "de"}, actor="9")
    assert (await store_a.update(GUILD, {"locale": "DE"}, actor="9")).revision == 1
    assert len(store_a.auditor.entries) == 1


@pytest.mark.parametrize("changes", [{"colour": "red"}, {"locale": "de", "log_channel": "x"}, {"disabled": "settings"}])
async def test_invalid_value_changes_nothing(stores, changes):
    with pytest.raises(UsageError):
        await stores[0].update(GUILD, changes, actor="9")
    assert await stores[0].get(GUILD) == DEFAULTS
    assert stores[0].auditor.entries == []


async def test_concurrent_changes_of_a_guild_are_all_kept(stores):
    """Also the first change of a guild, which all of them try to insert."""
    names = [f"command{n}" for n in range(8)]
    changes = (stores[n % 2].update(GUILD, {"disabled": f"+{name}"}, actor="9") for n, name in enumerate(names))
    results = await asyncio.gather(*changes)
    assert sorted(result.revision for result in results) == list(range(1, 9))
    assert (await stores[0].get(GUILD)).disabled == frozenset(names)


async def test_mongo_outage_keeps_reads_and_refuses_changes(redis_server, tmp_path):
    name = f"guilds{uuid.uuid4().hex[:12]}"
    with server(embedded_mongo.PART, tmp_path) as own_mongo:
        async with store(redis_server, own_mongo.url, name, timeout_s=LIMIT_S) as guilds:
            new = await guilds.update(GUILD, {"locale": "de"}, actor="9")
            assert await guilds.get(GUILD) == new
            own_mongo.kill()
            assert await guilds.get(GUILD) == new
            with pymongo.timeout(expires(0.3)), pytest.raises(Unreachable, match="cannot be read"):
                await guilds.get("1")
            with pymongo.timeout(expires(0.3)), pytest.raises(Unreachable, match="were not changed"):
                await guilds.update(GUILD, {"locale": "fr"}, actor="9")
            assert await guilds.get(GUILD) == new
            assert len(guilds.auditor.entries) == 1
            own_mongo.start()
            assert (await guilds.update(GUILD, {"locale": "fr"}, actor="9")).revision == 2


async def test_unconfirmed_write_invalidates_the_cache(stores):
    """The write may have happened, so the next reader asks MongoDB."""
    store_a, store_b = stores
    await store_a.update(GUILD, {"locale": "de"}, actor="9")
    update_one = store_a.database[COLLECTION].update_one

    class UnconfirmedCollection:
        def with_options(self, **_options):
            return self

        def __getattr__(self, name):
            return getattr(store_a.database[COLLECTION], name)

        async def update_one(self, *args):
            await update_one(*args)
            raise mongo.PyMongoError("the connection broke after the write")

    unconfirmed = GuildSettingsCache(
        {COLLECTION: UnconfirmedCollection()}, store_a.cache, store_a.bus, store_a.auditor, store_a.clock
    )
    with pytest.raises(Unreachable, match="did not say"):
        await unconfirmed.update(GUILD, {"locale": "fr"}, actor="9")
    assert (await store_a.get(GUILD)).locale == "fr"
    await until(lambda: store_b.cache.counts.invalidations >= 2)
    assert (await store_b.get(GUILD)).locale == "fr"


_SETTINGS = st.builds(
    GuildSettings,
    locale=st.none() | st.sampled_from(sorted(LOCALES)),
    disabled=st.frozensets(st.text(max_size=10)),
    log_channel=st.none() | st.text("0123456789", min_size=15, max_size=20),
    revision=st.integers(0, 10**6),
)


@given(_SETTINGS)
def test_decode_is_the_inverse_of_encode(settings):
    assert decode(encode(settings)) == settings


@pytest.mark.parametrize("data", [b"", b"[]", b"7", b"{", b'{"revision": "x"}'])
def test_decode_of_other_bytes_raises_value_error(data):
    with pytest.raises(ValueError):
        decode(data)


@pytest.mark.parametrize(("long_lived", "limit_s"), [(True, CACHE_TIMEOUT_S), (False, 60)], ids=["run", "short verb"])
async def test_only_a_process_of_interactions_gives_redis_little_time(
    long_lived, limit_s, redis_server, mongo_server, tmp_path
):
    async with (
        redis.connect(redis_server, timeout_s=LIMIT_S) as client,
        mongo.connect(mongo_server, timeout_s=LIMIT_S) as mongo_client,
        tasks_for("guilds") as (tasks, _),
        guild_settings_store(
            database=mongo_client[f"guilds{uuid.uuid4().hex[:12]}"],
            redis=client,
            bus=Bus(),
            auditor=Recorder(),
            clock=ManualClock(),
            settings=Settings(redis=RedisSettings(timeout_s=expires(60))),
            runtime=Runtime(tmp_path, long_lived=long_lived),
            tasks=tasks,
        ) as guilds,
    ):
        assert guilds.cache.timeout_s == limit_s

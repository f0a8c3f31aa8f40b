"""botctl on a MongoDB that was not written for it: what its queries read there, and what failing commands leave behind.

`make contract` names two SecantusDB, one that stands alone and one with a replica set. A real MongoDB will do, too.
"""

import functools
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from pymongo import AsyncMongoClient, monitoring
from pymongo.errors import OperationFailure

from botctl.audit.log import AuditLog
from botctl.audit.query import Query
from botctl.audit.spool import Spool
from botctl.audit.writer import COLLECTION, INDEXES, MongoAuditor
from botctl.auth.api_keys import MongoKeys
from botctl.auth.signing import Signer
from botctl.core.config.settings import MongoSettings, RedisSettings, Settings
from botctl.core.contracts.audit_entry import AuditEntry, AuditOutcome, Principal
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.guild_settings import DEFAULTS
from botctl.core.errors import Unreachable
from botctl.core.processes.runtime import Runtime
from botctl.guilds import store as guilds
from botctl.stores import mongo
from botctl.stores.leases import MongoLeases, leases
from botctl.stores.report import StoreState, report
from tests.support.clock import ManualClock
from tests.support.stores import REAL_MONGO, new_database, tasks_for
from tests.support.waiting import until

START = datetime(2026, 1, 1, tzinfo=UTC)
GROWING = {COLLECTION, guilds.COLLECTION, "botctl_api_keys"}  # with the use of the bot, the guilds and the clients
# After "not primary" a driver waits until the server tells of a new primary. A failpoint changes none, so it must ask.
_POLLING = "serverMonitoringMode=poll&heartbeatFrequencyMS=500"
FAILURES = {
    "not_primary": {"errorCode": 10107, "errorLabels": ["RetryableWriteError"]},
    "closed_connection": {"closeConnection": True},
    "write_concern": {"writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}},
}


@pytest.fixture(params=REAL_MONGO or [pytest.param("", id="real")])
def judge(request):
    """The URL of a real server."""
    if not request.param:
        pytest.skip("contract: BOTCTL_TEST_MONGO_URL names no server")
    url = REAL_MONGO[request.param]
    return f"{url}{'&' if '?' in url else '?'}{_POLLING}"


@pytest.fixture
async def database(judge):
    async with new_database(judge) as database:
        yield database


def entry(n, **fields):
    return AuditEntry(
        id=f"e{n:04}", at=START + timedelta(seconds=n), action="x.done", actor=Principal("user", "9"), **fields
    )


# --- explain -------------------------------------------------------------------------------------------------------


class Commands(monitoring.CommandListener):
    """Every query and every change by a filter that a client sends, as a ``find`` that can be explained."""

    def __init__(self):
        self.finds = []

    def started(self, event):
        name, command = event.command_name, event.command
        if name == "find":
            self.finds.append({key: command[key] for key in ("find", "filter", "sort", "limit") if key in command})
        for change in command.get({"update": "updates", "delete": "deletes"}.get(name, ""), ()):
            self.finds.append({"find": command[name], "filter": change["q"]})

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass


@pytest.fixture
async def watched(judge, monkeypatch):
    """A database whose commands are recorded, and the record."""
    commands = Commands()
    monkeypatch.setattr(
        mongo, "AsyncMongoClient", functools.partial(AsyncMongoClient, event_listeners=[commands]), raising=True
    )
    async with new_database(judge) as database:
        yield database, commands


async def test_each_query_of_a_growing_collection_has_an_index(watched, tmp_path):
    """A query without conditions, order and limit reads everything on purpose: `auth key list`."""
    database, commands = watched
    await _fill(database, tmp_path)
    await _ask_everything(database)
    asked = [find for find in commands.finds if find["find"] in GROWING and len(find) > 1 and find != _everything(find)]
    assert len(asked) > 15
    assert {find["find"] for find in asked} == GROWING
    assert [fault for find in asked async for fault in _faults(database, find)] == []
    branches = [branch for find in asked if find["find"] == COLLECTION for branch in _branches(find)]
    assert {tuple(_meant_index(branch)) for branch in branches} == {tuple(keys) for keys in INDEXES}


def _everything(find):
    return {"find": find["find"], "filter": {}}


async def _fill(database, folder):
    async with tasks_for("audit") as (tasks, _):
        auditor = MongoAuditor(database[COLLECTION], Spool(folder), tasks, 1000, 0.001)
        async with auditor.running():
            for n in range(50):
                auditor.record(entry(n))
            await until(lambda: _has_indexes(database))


async def _has_indexes(database):
    return len(await database[COLLECTION].index_information()) == len(INDEXES) + 1


async def _ask_everything(database):
    log, later = AuditLog(database), START + timedelta(seconds=9)
    actors = [Query(), Query(actor="9"), Query(actor="9*"), Query(actor="9", action="x.done", guild="7")]
    others = [Query(action="x.done"), Query(guild="7"), Query(since=START, until=later)]
    in_order = [Query(action="x.*"), Query(outcome=AuditOutcome.ERROR)]  # these alone read the log in its order
    for query in (*actors, *others, *in_order):
        await log.newest(query, 5)
    await log.written_since(5)
    await guilds.load(database, "7")
    store = guilds.GuildSettingsCache(database, _NoCache(), Bus(), _NoAuditor(), ManualClock())
    for locale in ("de", "fr"):
        await store.update("7", {"locale": locale}, actor="cli")
    signer = Signer(b"a secret of 32 characters or more")
    keys = MongoKeys(database["botctl_api_keys"], None, Bus(), _NoAuditor(), ManualClock(), signer)
    key, text = await keys.create("one")
    await keys.check(text)
    await keys.active([key.id])
    await keys.write_uses()
    await keys.revoke(key.id)
    await keys.purge(ended_for=timedelta(0))


class _NoCache:
    async def invalidate(self, key):
        pass


class _NoAuditor:
    def record(self, entry):
        pass


async def _faults(database, find):
    """What is wrong with how ``find`` is answered.

    SecantusDB takes no index for a filter of several fields or a regular expression, and sorts again what an index with
    an array has in order. MongoDB does neither. So there only the plan with the index that is meant is judged.
    """
    is_mongodb = "secantusVersion" not in await database.client.admin.command("buildInfo")
    if is_mongodb and (bad := {stage["stage"] for stage in await _plan(database, find)} & {"COLLSCAN", "SORT"}):
        yield find, bad
    for branch in _branches(find):
        index, order = _meant_index(branch), list(branch.get("sort", {}))
        plan = await _plan(database, branch | {"hint": dict(index)})  # an error if there is no such index
        fields = [name for name, _ in index]
        read = [list(stage["keyPattern"]) for stage in plan if "keyPattern" in stage]
        if read != [fields] or any(stage["stage"] == "COLLSCAN" for stage in plan) or order not in ([], fields[-1:]):
            yield branch, plan


def _branches(find):
    """The queries that a server answers one by one: ``find``, or one for each alternative of its ``$or``."""
    common = {name: value for name, value in find["filter"].items() if name != "$or"}
    return [find | {"filter": common | each} for each in find["filter"].get("$or", [{}])]


def _meant_index(find):
    """The index for a condition that one value fulfils, then the order; else the one for the order alone."""
    conditions = find["filter"]
    if "_id" in conditions:
        return [("_id", 1)]
    searched = conditions.get("x", {}).get("$elemMatch", {})
    for name in ("actor", "name", "action", "guild"):
        if isinstance(searched.get(name), str):
            return [(f"x.{name}", 1), ("at", -1)]
    return [("w.at", 1)] if "w.at" in conditions else [("at", -1)]


async def _plan(database, find):
    """The stages of the plan."""
    explained = await database.command("explain", find, verbosity="queryPlanner")
    return list(_stages(explained["queryPlanner"]["winningPlan"]))


def _stages(plan):
    if "stage" in plan:
        yield plan
    for inner in (*plan.get("inputStages", ()), *filter(None, (plan.get("inputStage"), plan.get("queryPlan")))):
        yield from _stages(inner)


# --- failpoints ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def failing(judge, command, failure, times):
    """The next ``times`` commands of botctl fail. The client that says so is not botctl's, so it does not."""
    data = {"failCommands": [command], "appName": "botctl", **FAILURES[failure]}
    async with AsyncMongoClient(judge) as operator:
        try:
            mode = "alwaysOn" if times is None else {"times": times}
            await operator.admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": data})
        except OperationFailure as error:
            pytest.skip(f"failpoints: {error.details and error.details.get('codeName')}")
        try:
            yield
        finally:
            await operator.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


@pytest.mark.parametrize("failure", FAILURES)
async def test_audit_entries_are_written_once_despite_failures(judge, database, tmp_path, failure):
    async with tasks_for("audit") as (tasks, _):
        auditor = MongoAuditor(database[COLLECTION], Spool(tmp_path), tasks, 1000, 0.001)
        async with failing(judge, "insert", failure, 3), auditor.running():
            for n in range(5):
                auditor.record(entry(n))
            await until(lambda: auditor.waiting == 0, what="the entries to be written")
    assert [document["_id"] async for document in database[COLLECTION].find().sort("_id")] == [
        f"e{n:04}" for n in range(5)
    ]
    assert auditor.counts.lost == auditor.counts.spooled == 0


@pytest.mark.parametrize("failure", FAILURES)
async def test_failing_settings_change_is_whole_or_refused(judge, database, failure):
    store = guilds.GuildSettingsCache(database, _NoCache(), Bus(), _NoAuditor(), ManualClock())
    async with failing(judge, "insert", failure, 1):
        try:
            await store.update("7", {"locale": "de"}, actor="cli")
            refused = False
        except Unreachable:
            refused = True
    found = await guilds.load(database, "7") or DEFAULTS
    assert found.locale == ("de" if failure == "write_concern" or not refused else None)
    await store.update("7", {"locale": "fr"}, actor="cli")
    assert (await guilds.load(database, "7")).locale == "fr"


@pytest.mark.parametrize("failure", FAILURES)
async def test_lease_whose_taking_fails_can_be_taken_later(judge, database, failure):
    async with leases(database) as service:
        async with failing(judge, "update", failure, 1):
            try:
                async with service.lease("work", ttl_s=0.5, wait_s=0) as first:
                    fence = first.fence
            except Unreachable:
                fence = 0
        assert isinstance(service, MongoLeases)
        async with service.lease("work", ttl_s=0.5, wait_s=30) as second:
            assert second.held
            assert second.fence > fence


async def test_server_that_is_not_primary_is_reported_down(judge, redis_server, tmp_path):
    settings = Settings(redis=RedisSettings(url=redis_server), mongo=MongoSettings(url=judge, timeout_s=60))
    async with failing(judge, "insert", "not_primary", None):
        _, found = await report(settings, Runtime(tmp_path))
    assert found.state is StoreState.DOWN
    assert found.detail.startswith("It answers, but takes no write: ")
    _, found = await report(settings, Runtime(tmp_path))
    assert (found.state, found.detail) == (StoreState.UP, "")

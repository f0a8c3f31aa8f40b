"""Each check of the stores: well, and broken."""

import pytest

from botctl.doctor.finding import Mark
from botctl.doctor.stores import MongoEvidence, RedisEvidence, assess_mongo, assess_redis


def redis(**changes):
    seen = {
        "address": "redis://db:6379/0",
        "product": "Redis",
        "version": "7.4.0",
        "latency_ms": 0.4,
        "run_id": "0123456789abcdef",
        "role": "master",
        "persists": True,
        "policy": "noeviction",
    }
    return assess_redis(RedisEvidence(**{**seen, **changes}))


def mongo(**changes):
    seen = {
        "address": "mongodb://db:27017",
        "product": "MongoDB",
        "version": "8.0.4",
        "latency_ms": 0.4,
        "replica_set": "rs0",
        "missing": {},
    }
    return assess_mongo(MongoEvidence(**{**seen, **changes}))


def faults(findings):
    assert all(finding.mend for finding in findings if finding.mark is Mark.FAULT)
    return [finding.sentence for finding in findings if finding.mark is Mark.FAULT]


def test_stores_that_are_well():
    assert {finding.mark for finding in (*redis(), *mongo())} == {Mark.OK}
    assert "Redis 7.4.0 at redis://db:6379/0, run 01234567" in [finding.sentence for finding in redis()]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"error": "Connection refused."}, "does not answer: Connection refused"),
        ({"version": "6.0.9"}, "needs 6.2"),
        ({"write_error": "OOM"}, "takes no write: OOM"),
        ({"latency_ms": 400.0}, "400 ms"),
        ({"role": "slave"}, "replica"),
        ({"save_error": True}, "disk"),
        ({"persists": False}, "keeps nothing"),
        ({"policy": "allkeys-lru", "max_bytes": 100}, "may drop event streams"),
        ({"max_bytes": 100, "used_bytes": 95}, "95 %"),
    ],
)
def test_what_is_wrong_with_redis_is_a_fault(change, word):
    (sentence,) = faults(redis(**change))
    assert word in sentence


@pytest.mark.parametrize(
    "change",
    [
        {"policy": "allkeys-lru"},  # without a limit nothing is dropped
        {"policy": "volatile-ttl", "max_bytes": 100},
        {"embedded": True, "persists": None, "version": "1"},
        {"persists": None},
        {"policy": ""},
        {"version": ""},
        {"idle": True},
    ],
)
def test_what_is_not_wrong_or_not_known_of_redis_is_no_fault(change):
    assert faults(redis(**change)) == []


def test_store_that_is_not_reached_is_one_line():
    assert [finding.mark for finding in redis(idle=True)] == [Mark.UNKNOWN]
    assert [finding.mark for finding in redis(error="x")] == [Mark.FAULT]
    assert "BOTCTL_MONGO__URL" in mongo(error="x")[0].mend
    assert ".botctl/logs" in mongo(error="x", embedded=True)[0].mend


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"error": "No servers found"}, "does not answer"),
        ({"version": "5.0.1"}, "needs 6.0"),
        ({"write_error": "disk full"}, "takes no write: disk full"),
        ({"latency_ms": 400.0}, "400 ms"),
        ({"replica_set": None}, "stands alone"),
        ({"is_primary": False}, "no primary"),
        ({"missing": {"botctl_audit": [("x.actor", "at")]}}, "botctl_audit (x.actor, at)"),
    ],
)
def test_what_is_wrong_with_mongodb_is_a_fault(change, word):
    (sentence,) = faults(mongo(**change))
    assert word in sentence


@pytest.mark.parametrize("assess", [redis, mongo])
@pytest.mark.parametrize("embedded", [True, False])
def test_refused_write_has_the_mend_of_its_error(assess, embedded):
    (finding,) = [each for each in assess(write_error="x", write_hint="Raise it.", embedded=embedded) if each.mend]
    assert finding.mend == "Raise it."
    (finding,) = [each for each in assess(write_error="x", embedded=embedded) if each.mend]
    assert "Free space" not in finding.mend


def test_embedded_store_needs_no_replica_set():
    assert faults(mongo(embedded=True, replica_set=None, version="0.8.1")) == []

"""What is well with Redis and MongoDB. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from botctl.core.escape import safe
from botctl.doctor.finding import Finding, fault, ok, unknown
from botctl.doctor.machine import satisfies

MIN_REDIS: Final = "6.2"
MIN_MONGO: Final = "6.0"
SLOW_MS: Final = 250.0
"""Each command of a bot asks Redis for its limits, and has 3 s in all."""
_SAFE_POLICIES: Final = ("noeviction", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl")
_EMBEDDED_IDLE: Final = "embedded, and not running; the next command that needs it starts it"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreEvidence:
    """What both stores have in common.

    ``address`` has no secrets. ``idle``: it is embedded, and does not run. ``error``: it did not answer, and why.
    ``write_error``: it takes no write, and why. ``write_hint``: what to do then, if that error says it.
    ``latency_ms`` is of one small command; None if there was none.
    """

    address: str = ""
    embedded: bool = False
    idle: bool = False
    error: str = ""
    write_error: str = ""
    write_hint: str = ""
    version: str = ""  # "7.4.0"
    product: str = ""  # "Redis", "Valkey", "MongoDB", "nx-27017"
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisEvidence(StoreEvidence):
    """None, or empty: the user of the address has no right to ask for it."""

    run_id: str = ""  # new at each start of the server
    role: str = ""  # "master" or "slave"
    persists: bool | None = None  # to an append-only file, or in snapshots
    save_error: bool = False  # the last time that it wrote to its disk failed
    policy: str = ""  # maxmemory-policy
    max_bytes: int = 0  # 0: no limit
    used_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MongoEvidence(StoreEvidence):
    """``missing``: by collection, the indexes of `botctl` that it lacks, as the fields of each."""

    replica_set: str | None = None  # its name; None: it stands alone
    is_primary: bool = True
    missing: Mapping[str, Sequence[Sequence[str]]]


def assess_redis(seen: RedisEvidence) -> list[Finding]:
    if (reached := _assess_reach("redis", "redis.url", seen)) is not None:
        return [reached]
    findings = [_assess_version("redis", seen, MIN_REDIS), *_assess_answers("redis", seen)]
    if seen.role == "slave":
        mend = "Name the primary in redis.url; a replica takes no writes."
        findings.append(fault("redis", f"{safe(seen.address)} is a replica", mend))
    if seen.save_error:
        mend = "See the log of the server: its disk is full, or not writable. Then `BGSAVE`."
        findings.append(fault("redis", "it could not write its data to its disk the last time", mend))
    return [*findings, _assess_persistence(seen), _assess_eviction(seen)]


def _assess_reach(check: str, setting: str, seen: StoreEvidence) -> Finding | None:
    """The only finding, if the store was not reached."""
    if seen.idle:
        return unknown(check, _EMBEDDED_IDLE)
    if not seen.error:
        return None
    mend = "See .botctl/logs, and the process that runs it (`botctl stores`)."
    if not seen.embedded:
        mend = f"Start that server, or correct {setting} (BOTCTL_{setting.upper().replace('.', '__')})."
    return fault(check, f"{safe(seen.address)} does not answer: {seen.error}".rstrip("."), mend)


def _assess_version(check: str, seen: StoreEvidence, minimum: str) -> Finding:
    name = f"{seen.product} {seen.version}".strip()
    who = f"{name} at {safe(seen.address)}{' (embedded)' if seen.embedded else ''}"
    if isinstance(seen, RedisEvidence) and seen.run_id:
        who += f", run {seen.run_id[:8]}"
    if not seen.version:
        return unknown(check, f"{who}; its user has no right to ask for the version (INFO)")
    if not seen.embedded and not satisfies(seen.version, f">={minimum}"):
        return fault(check, f"{who}, but botctl needs {minimum}", f"Update that server to {minimum} or newer.")
    return ok(check, who)


def _assess_answers(check: str, seen: StoreEvidence) -> list[Finding]:
    if seen.write_error:
        mend = seen.write_hint or "Look at its log, its disk, its memory limit and the rights of its user."
        return [fault(check, f"it answers, but takes no write: {seen.write_error}".rstrip("."), mend)]
    if seen.latency_ms is None:
        return []
    if seen.latency_ms > SLOW_MS:
        mend = "Move it nearer to the bot, or see what keeps it busy. Each command of the bot waits for it."
        return [fault(check, f"it took {seen.latency_ms:.0f} ms to answer one small command", mend)]
    return [ok(check, f"takes writes, and answers in {seen.latency_ms:.1f} ms")]


def _assess_persistence(seen: RedisEvidence) -> Finding:
    if seen.embedded:
        return ok("redis", "keeps its data in .botctl")
    if seen.persists is None:
        return unknown("redis", "its user has no right to ask whether it keeps its data (CONFIG)")
    if seen.persists:
        return ok("redis", "keeps its data over a restart")
    mend = "Set `appendonly yes` in its configuration. Else a restart forgets limits, and events that clients missed."
    return fault("redis", "keeps nothing over a restart", mend)


def _assess_eviction(seen: RedisEvidence) -> Finding:
    if not seen.policy:
        return unknown("redis", "its user has no right to ask what it does when its memory is full (INFO)")
    if seen.max_bytes and seen.used_bytes > 0.9 * seen.max_bytes:
        mend = "Raise maxmemory, or remove what other programs keep there."
        return fault("redis", f"{100 * seen.used_bytes / seen.max_bytes:.0f} % of its maxmemory is used", mend)
    if seen.policy in _SAFE_POLICIES or not seen.max_bytes:
        return ok("redis", "drops no events when its memory is full" if seen.max_bytes else "has no memory limit")
    mend = "Set `maxmemory-policy noeviction` (or a volatile one), or give the bot a Redis of its own."
    return fault("redis", f"may drop event streams when its memory is full ({safe(seen.policy)})", mend)


def assess_mongo(seen: MongoEvidence) -> list[Finding]:
    if (reached := _assess_reach("mongodb", "mongo.url", seen)) is not None:
        return [reached]
    findings = [_assess_version("mongodb", seen, MIN_MONGO), *_assess_answers("mongodb", seen)]
    return [*findings, *_assess_replica_set(seen), _assess_indexes(seen)]


def _assess_replica_set(seen: MongoEvidence) -> list[Finding]:
    if seen.embedded:
        return []
    if not seen.is_primary:
        mend = "Name all members of the replica set in mongo.url, with replicaSet=NAME."
        return [fault("mongodb", "no primary was found: it takes no writes", mend)]
    if seen.replica_set:
        return [ok("mongodb", f"replica set {safe(seen.replica_set)}")]
    mend = "Start it with --replSet; one member is enough. Then writes survive a power failure, and can be repeated."
    return [fault("mongodb", "it stands alone, without a replica set", mend)]


def _assess_indexes(seen: MongoEvidence) -> Finding:
    missing = [f"{name} ({', '.join(fields)})" for name, indexes in seen.missing.items() for fields in indexes]
    if not missing:
        return ok("mongodb", "has the indexes that botctl needs")
    mend = "`botctl run` makes them when it writes. If they stay away, its log says why (a right, or a full disk)."
    return fault("mongodb", f"lacks the indexes {'; '.join(missing)}: `botctl audit log` is slow", mend)

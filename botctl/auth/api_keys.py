"""Create, check and revoke API keys, which are stored in MongoDB.

Collection ``botctl_api_keys``: ``{_id, name, digest, topics, created_by, created_ms, expires_ms, revoked_ms, used_ms,
uses}``, times in milliseconds since 1970. Of the key's text only `key_format.digest` is stored. Uses are counted in
memory and written every `USES_S`: to the document, and as one audit entry per key.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from bson.binary import Binary
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from botctl.auth.key_format import digest, mint, parse_id
from botctl.core.clock import Clock, from_unix_ms, unix_ms
from botctl.core.contracts.api_keys import EVERY_TOPIC, ApiKey, ApiKeys, KeyRefused
from botctl.core.contracts.audit_entry import Change, Principal, Target, current_operator, make_entry
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.event_log import EventLog
from botctl.core.contracts.events import BY_TYPE, KeyCreated, KeyRevoked
from botctl.core.contracts.malformed import FAULTS, Malformed, describe_fault, malformed_error, value_of
from botctl.core.contracts.protocols import Auditor
from botctl.core.driver_errors.mongo import reaching_mongo
from botctl.core.errors import STORE_FAULTS, UsageError
from botctl.core.escape import safe
from botctl.core.event_loop.timeout import LoopTimeout
from botctl.core.services.tasks import Backoff, Tasks
from botctl.core.suggest import suggest
from botctl.stores.journal import journaled

COLLECTION: Final = "botctl_api_keys"
USES_S: Final = 10.0  # between two writes of the counted uses
MAX_NAME: Final = 64
_LAST_TRY_S: Final = 2.0  # for the last write of uses at the stop
_reaching_mongo: Final = reaching_mongo("The API keys cannot be reached: MongoDB failed ({error}).")


@dataclass(slots=True)
class _Usage:
    """Uses of a key that are not written yet."""

    key: ApiKey
    count: int = 0
    last: datetime | None = None


@dataclass(eq=False)
class MongoKeys:
    """`ApiKeys` (see there for the methods) in ``collection``. ``log`` has the topics of the operator's own events."""

    collection: AsyncCollection[dict[str, Any]]
    log: EventLog
    bus: Bus
    auditor: Auditor
    clock: Clock
    malformed: Malformed = field(default_factory=lambda: Malformed(COLLECTION), init=False)
    _malformed_active: Malformed = field(default_factory=lambda: Malformed(COLLECTION), init=False)  # of `active`
    _uses: dict[str, _Usage] = field(default_factory=dict, init=False)

    async def create(
        self, name: str, *, topics: Sequence[str] = (EVERY_TOPIC,), expires_in: timedelta | None = None
    ) -> tuple[ApiKey, str]:
        _check_name(name)
        await self._check_topics(topics)
        minted, now, actor = mint(), self.clock.now(), current_operator()
        key = ApiKey(
            minted.id, name, tuple(topics), now, actor.name or actor.id, now + expires_in if expires_in else None
        )
        with _reaching_mongo:
            await self.collection.insert_one(_document(key, minted.digest))
        changes = [Change("name", None, name), Change("topics", None, list(topics))]
        if key.expires_at:
            changes.append(Change("expires_at", None, key.expires_at))
        self._record("key.create", actor, key, changes)
        self.bus.publish(KeyCreated(key=key.id, name=name, actor=key.created_by))
        return key, minted.text

    async def revoke(self, key_id: str) -> tuple[ApiKey, bool]:
        """To revoke a key again publishes the event again, since the first one may be lost."""
        now, actor = self.clock.now(), current_operator()
        with _reaching_mongo:
            result = await self.collection.update_one(
                {"_id": key_id, "revoked_ms": None}, {"$set": {"revoked_ms": unix_ms(now)}}
            )
            document = await self.collection.find_one({"_id": key_id})
        if document is None:
            raise UsageError(f"there is no key {safe(key_id)!r}.", hint="`botctl auth key list` shows their ids.")
        key, newly_revoked = _require_key(document), result.modified_count > 0
        if newly_revoked:
            self._record("key.revoke", actor, key, [Change("revoked_at", None, key.revoked_at)])
        self.bus.publish(KeyRevoked(key=key.id, name=key.name, actor=actor.name or actor.id))
        return key, newly_revoked

    async def list(self) -> list[ApiKey]:
        with _reaching_mongo:
            documents = await self.collection.find({}).to_list()
        return sorted(self.malformed.read(documents, _key), key=lambda key: (key.created_at, key.id))

    async def check(self, text: str) -> ApiKey:
        try:
            key_id = parse_id(text)
        except ValueError as error:
            raise KeyRefused(f"{error}") from None
        with _reaching_mongo:
            document = await self.collection.find_one({"_id": key_id})
        if document is None or not hmac.compare_digest(_digest(document), digest(text)):
            raise KeyRefused("there is no such key")
        try:
            key, now = _key(document), self.clock.now()
        except FAULTS:
            raise KeyRefused("its record cannot be read") from None
        if reason := key.invalid_reason(now):
            raise KeyRefused(reason)
        uses = self._uses.setdefault(key.id, _Usage(key))
        uses.count, uses.last = uses.count + 1, now
        return key

    async def active(self, key_ids: Collection[str]) -> Mapping[str, ApiKey]:
        if not key_ids:
            return {}
        with _reaching_mongo:
            documents = await self.collection.find({"_id": {"$in": list(key_ids)}}).to_list()
        keys, now = self._malformed_active.read(documents, _key), self.clock.now()
        return {key.id: key for key in keys if key.invalid_reason(now) is None}

    async def purge(self, *, ended_for: timedelta) -> int:
        before = self.clock.now() - ended_for
        old = [
            key.id for key in await self.list() if any(at and at < before for at in (key.revoked_at, key.expires_at))
        ]
        with _reaching_mongo:
            await self.collection.delete_many({"_id": {"$in": old}})
        return len(old)

    async def write_uses(self) -> None:
        """Write the counted uses, and keep those that fail. Raises Unreachable if MongoDB does not answer."""
        for key_id in list(self._uses):
            uses = self._uses.pop(key_id)
            try:
                with _reaching_mongo:
                    change = {"$set": {"used_ms": uses.last and unix_ms(uses.last)}, "$inc": {"uses": uses.count}}
                    await self.collection.update_one({"_id": key_id}, change)
            except BaseException:
                newer = self._uses.setdefault(key_id, _Usage(uses.key, 0, uses.last))
                newer.count += uses.count
                raise
            actor = Principal("key", key_id, uses.key.name)
            self._record("key.use", actor, uses.key, [Change("times", None, uses.count)], iface="api")

    async def _check_topics(self, topics: Sequence[str]) -> None:
        """Raise UsageError for an unknown topic, since a key for it would silently receive nothing."""
        if not topics:
            raise UsageError("a key without topics cannot read anything.", hint="Name topics, or use * for all.")
        known = {EVERY_TOPIC, *(event.topic for event in BY_TYPE.values())}
        if not known.issuperset(topics):
            known |= set(await self.log.topics())  # with those of the operator's own events
        for topic in topics:
            if topic not in known:
                names = sorted(known - {EVERY_TOPIC})
                sentence = f"there is no topic {safe(topic, MAX_NAME)!r}{suggest(topic, names)}"
                choice = f"Choose from: {', '.join(names)}; * stands for all."
                hint = f"{choice} A topic of your own exists from its first event on."
                raise UsageError(sentence, hint=hint)

    def _record(
        self, action: str, actor: Principal, key: ApiKey, changes: Sequence[Change], *, iface: str = "cli"
    ) -> None:
        """Record a change or use of ``key`` in the audit log. ``iface``: where it came from, ``cli`` or ``api``."""
        target = Target("key", key.id, key.name)
        self.auditor.record(make_entry(action, actor, at=self.clock.now(), iface=iface, target=target, changes=changes))


@asynccontextmanager
async def api_keys(
    *, database: AsyncDatabase[dict[str, Any]], log: EventLog, bus: Bus, auditor: Auditor, clock: Clock, tasks: Tasks
) -> AsyncIterator[ApiKeys]:
    keys = MongoKeys(journaled(database[COLLECTION]), log, bus, auditor, clock)

    async def write_uses() -> None:
        while True:
            await asyncio.sleep(USES_S)
            await keys.write_uses()

    tasks.spawn(write_uses, name="uses", restart=Backoff(first_s=USES_S, limit_s=60))
    try:
        yield keys
    finally:
        await tasks.cancel()
        with suppress(*STORE_FAULTS, TimeoutError):
            async with LoopTimeout(_LAST_TRY_S):
                await keys.write_uses()


def _check_name(name: str) -> None:
    if not (1 <= len(name) <= MAX_NAME and name.isprintable() and name == name.strip()):
        raise UsageError(
            f"{safe(name)!r} is not a valid name for a key.", hint=f"Use 1 to {MAX_NAME} printable characters."
        )


def _document(key: ApiKey, key_digest: bytes) -> dict[str, Any]:
    return {
        "_id": key.id,
        "name": key.name,
        "digest": Binary(key_digest),
        "topics": list(key.topics),
        "created_by": key.created_by,
        "created_ms": unix_ms(key.created_at),
        "expires_ms": key.expires_at and unix_ms(key.expires_at),
        "revoked_ms": None,
        "used_ms": None,
        "uses": 0,
    }


def _key(document: Mapping[str, Any]) -> ApiKey:
    """The key in ``document``. Raises one of `FAULTS` if it is malformed."""
    return ApiKey(
        id=value_of(document, "_id", str),
        name=value_of(document, "name", str),
        topics=tuple(map(str, value_of(document, "topics", list))),
        created_at=from_unix_ms(value_of(document, "created_ms", int)),
        created_by=value_of(document, "created_by", str),
        expires_at=_datetime(document, "expires_ms"),
        revoked_at=_datetime(document, "revoked_ms"),
        used_at=_datetime(document, "used_ms"),
        uses=value_of(document, "uses", int),
    )


def _require_key(document: Mapping[str, Any]) -> ApiKey:
    """The key in ``document``. Raises IntegrityError, which names it, if it is malformed."""
    try:
        return _key(document)
    except FAULTS as error:
        raise malformed_error(COLLECTION, {safe(document["_id"], 80): describe_fault(error)}) from error


def _digest(document: Mapping[str, Any]) -> bytes:
    """The digest of the key's text; that of no key if it is missing."""
    value = document.get("digest")
    return bytes(value) if isinstance(value, bytes) else b""


def _datetime(document: Mapping[str, Any], name: str) -> datetime | None:
    ms = value_of(document, name, int, type(None))
    return None if ms is None else from_unix_ms(ms)

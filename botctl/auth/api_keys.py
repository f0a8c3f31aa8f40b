"""Create, check and revoke API keys, which are stored in MongoDB.

`key_documents` has the form of the documents. Uses are counted in memory and written every `USES_S`: to the document,
and as one audit entry per key.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from botctl.auth.key_documents import COLLECTION, digest_of, key_document, parse_key
from botctl.auth.key_format import KeyText, digest, mint, parse_id
from botctl.auth.signing import FIELD, NotSigned, Signer
from botctl.core.clock import Clock, iso_ms, unix_ms
from botctl.core.config.value_types import DISCORD_ID
from botctl.core.contracts.api_keys import ApiKey, ApiKeys, KeyRefused, Rotation
from botctl.core.contracts.audit_entry import Change, Principal, Target, current_operator, make_entry
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.event_log import EventLog
from botctl.core.contracts.events import KeyCreated, KeyRevoked, KeyRotated
from botctl.core.contracts.malformed import FAULTS, Malformed, describe_fault, malformed_error
from botctl.core.contracts.permissions import EVENTS, EVERY_EVENT, PERMISSIONS, is_pattern
from botctl.core.contracts.protocols import Auditor
from botctl.core.driver_errors.mongo import reaching_mongo
from botctl.core.errors import STORE_FAULTS, IntegrityError, NotFound, UsageError
from botctl.core.escape import safe
from botctl.core.event_loop.timeout import LoopTimeout
from botctl.core.services.tasks import Backoff, Tasks
from botctl.core.suggest import suggest
from botctl.stores.journal import journaled

USES_S: Final = 10.0  # between two writes of the counted uses
MAX_NAME: Final = 64
_ADDRESSES: Final = 5  # kept of a key
_LAST_TRY_S: Final = 2.0  # for the last write of uses at the stop
_reaching_mongo: Final = reaching_mongo("The API keys cannot be reached: MongoDB failed ({error}).")


@dataclass(slots=True)
class _Usage:
    """Uses of a key that are not written yet."""

    key: ApiKey
    last: datetime
    count: int = 0
    addresses: tuple[str, ...] = ()  # the last first

    def add(self, at: datetime, address: str) -> None:
        self.count, self.last = self.count + 1, at
        if address:
            self.addresses = _latest(address, self.addresses)


@dataclass(eq=False)
class MongoKeys:
    """`ApiKeys` (see there for the methods) in ``collection``. ``log`` has the topics of the operator's own events."""

    collection: AsyncCollection[dict[str, Any]]
    log: EventLog
    bus: Bus
    auditor: Auditor
    clock: Clock
    signer: Signer
    malformed: Malformed = field(default_factory=lambda: Malformed(COLLECTION), init=False)
    _malformed_active: Malformed = field(default_factory=lambda: Malformed(COLLECTION), init=False)  # of `active`
    _uses: dict[str, _Usage] = field(default_factory=dict, init=False)

    async def create(
        self,
        name: str,
        *,
        permissions: Sequence[str] = (EVERY_EVENT,),
        guild: str | None = None,
        expires_in: timedelta | None = None,
        reason: str = "",
    ) -> tuple[ApiKey, str]:
        _check_name(name)
        _check_guild(guild)
        await self._check_permissions(permissions)
        minted, now, actor = mint(), self.clock.now(), current_operator()
        expires_at = now + expires_in if expires_in else None
        key = ApiKey(minted.id, name, tuple(permissions), now, _name(actor), guild=guild, expires_at=expires_at)
        await self._insert(key, minted, actor, reason)
        return key, minted.text

    async def rotate(self, key_id: str, *, overlap: timedelta, reason: str = "") -> Rotation:
        """The successor is written first: if the process ends in between, both keys are valid, and listed."""
        old, now, actor = await self._require(key_id), self.clock.now(), current_operator()
        if ended := old.invalid_reason(now):
            raise UsageError(f"the key {old.id} cannot be rotated: {ended}.", hint="Create a key.")
        if old.replaced_by:
            hint = f"Rotate that one; or end this one at once: `botctl auth key revoke {old.id}`."
            raise UsageError(f"the key {old.id} was rotated already; {old.replaced_by} replaces it.", hint=hint)
        minted, lifetime = mint(), old.expires_at and old.expires_at - old.created_at
        expires_at = now + lifetime if lifetime else None
        new = ApiKey(
            minted.id,
            old.name,
            old.permissions,
            now,
            _name(actor),
            guild=old.guild,
            expires_at=expires_at,
            replaces=old.id,
        )
        await self._insert(new, minted, actor, reason)
        ends = min(filter(None, (old.expires_at, now + overlap)))
        change = {"revoked_ms": unix_ms(now)} if overlap <= timedelta(0) else {"expires_ms": unix_ms(ends)}
        former, was_changed = await self._change(old.id, change | {"replaced_by": new.id}, unless_replaced=True)
        if not was_changed:
            await self.revoke(new.id, reason="another process rotated or revoked the key at the same time")
            raise UsageError(f"the key {old.id} was rotated or revoked by someone else at the same time.")
        changes = [Change("replaced_by", None, new.id), Change("ends_at", old.expires_at, ends)]
        self._record("key.rotate", actor, former, changes, reason=reason)
        self.bus.publish(KeyRotated(key=old.id, name=old.name, successor=new.id, ends=iso_ms(ends), actor=_name(actor)))
        return Rotation(former, new, minted.text)

    async def revoke(self, key_id: str, *, actor: Principal | None = None, reason: str = "") -> tuple[ApiKey, bool]:
        """To revoke a key again publishes the event again, since the first one may be lost."""
        actor = actor or current_operator()
        try:
            key, newly_revoked = await self._change(key_id, {"revoked_ms": unix_ms(self.clock.now())})
        except IntegrityError as error:
            await self._delete(key_id, actor, reason)
            raise IntegrityError(
                f"{error} It opened nothing, and is deleted now.", hint="Nothing is left to do."
            ) from error
        if newly_revoked:
            self._record("key.revoke", actor, key, [Change("revoked_at", None, key.revoked_at)], reason=reason)
        self.bus.publish(KeyRevoked(key=key.id, name=key.name, actor=_name(actor)))
        return key, newly_revoked

    async def _insert(self, key: ApiKey, minted: KeyText, actor: Principal, reason: str) -> None:
        document = key_document(key, minted.digest, self.signer)
        with _reaching_mongo:
            await self.collection.insert_one(document)
        values = {
            "name": key.name,
            "permissions": list(key.permissions),
            "guild": key.guild,
            "expires_at": key.expires_at,
        }
        changes = [Change(name, None, value) for name, value in values.items() if value]
        self._record("key.create", actor, key, changes, reason=reason)
        self.bus.publish(KeyCreated(key=key.id, name=key.name, actor=key.created_by))

    async def _change(
        self, key_id: str, changes: Mapping[str, Any], *, unless_replaced: bool = False
    ) -> tuple[ApiKey, bool]:
        """Change the document of a key that is not revoked, and sign it. Returns the key, and whether it was changed.

        A change that another process makes in between is seen by the signature, and read again.
        """
        while True:
            document = await self._find(key_id)
            key = _require_key(document, self.signer)
            if key.revoked_at is not None or (unless_replaced and key.replaced_by):
                return key, False
            changed = self.signer.sign(COLLECTION, {**document, **changes})
            update = {"$set": {name: changed[name] for name in (*changes, FIELD)}}
            with _reaching_mongo:
                result = await self.collection.update_one({"_id": key_id, FIELD: document[FIELD]}, update)
            if result.matched_count:
                return parse_key(changed, self.signer), True

    async def _delete(self, key_id: str, actor: Principal, reason: str) -> None:
        """Delete a document that is malformed, or not signed by this bot."""
        with _reaching_mongo:
            await self.collection.delete_one({"_id": key_id})
        target = Target("key", safe(key_id, MAX_NAME))
        iface = "cli" if actor.type == "cli" else "api"
        self.auditor.record(
            make_entry("key.delete", actor, at=self.clock.now(), iface=iface, target=target, reason=reason or None)
        )

    async def _find(self, key_id: str) -> Mapping[str, Any]:
        with _reaching_mongo:
            document = await self.collection.find_one({"_id": key_id})
        if document is None:
            raise NotFound(f"there is no key {safe(key_id)!r}.", hint="`botctl auth key list` shows their ids.")
        return document

    async def _require(self, key_id: str) -> ApiKey:
        return _require_key(await self._find(key_id), self.signer)

    async def list(self) -> list[ApiKey]:
        with _reaching_mongo:
            documents = await self.collection.find({}).to_list()
        return sorted(self.malformed.read(documents, self._parse), key=lambda key: (key.created_at, key.id))

    async def check(self, text: str, *, address: str = "") -> ApiKey:
        try:
            key_id = parse_id(text)
        except ValueError as error:
            raise KeyRefused(f"{error}") from None
        with _reaching_mongo:
            document = await self.collection.find_one({"_id": key_id})
        if document is None or not hmac.compare_digest(digest_of(document), digest(text)):
            raise KeyRefused("there is no such key")
        try:
            key, now = self._parse(document), self.clock.now()
        except NotSigned as error:
            raise KeyRefused(f"{error}") from None
        except FAULTS:
            raise KeyRefused("its record cannot be read") from None
        if reason := key.invalid_reason(now):
            raise KeyRefused(reason)
        self._uses.setdefault(key.id, _Usage(key, now)).add(now, address)
        return key

    async def active(self, key_ids: Collection[str]) -> Mapping[str, ApiKey]:
        if not key_ids:
            return {}
        with _reaching_mongo:
            documents = await self.collection.find({"_id": {"$in": list(key_ids)}}).to_list()
        keys, now = self._malformed_active.read(documents, self._parse), self.clock.now()
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
        """Write the counted uses, and keep those that fail. Raises Unreachable if MongoDB does not answer.

        Other processes write theirs too: the last use never goes back, and their addresses are kept.
        """
        for key_id in list(self._uses):
            uses = self._uses.pop(key_id)
            try:
                with _reaching_mongo:
                    change: dict[str, Any] = {"$inc": {"uses": uses.count}, "$max": {"used_ms": unix_ms(uses.last)}}
                    if uses.addresses:
                        addresses = list(uses.addresses)
                        await self.collection.update_one({"_id": key_id}, {"$pullAll": {"used_from": addresses}})
                        change["$push"] = {"used_from": {"$each": addresses, "$position": 0, "$slice": _ADDRESSES}}
                    await self.collection.update_one({"_id": key_id}, change)
            except BaseException:
                newer = self._uses.setdefault(key_id, _Usage(uses.key, uses.last, 0, uses.addresses))
                newer.count += uses.count
                raise
            actor = Principal("key", key_id, uses.key.name)
            self._record(
                "key.use",
                actor,
                uses.key,
                [Change("times", None, uses.count), Change("from", None, list(uses.addresses))],
                iface="api",
            )

    def _parse(self, document: Mapping[str, Any]) -> ApiKey:
        return parse_key(document, self.signer)

    async def _check_permissions(self, permissions: Sequence[str]) -> None:
        """Raise UsageError for one that does not exist, since a key for it would silently be good for nothing."""
        if not permissions:
            raise UsageError("a key without permissions cannot do anything.", hint="Name topics or permissions.")
        for permission in permissions:
            if permission in PERMISSIONS:
                continue
            if permission.startswith(EVENTS) and permission != EVERY_EVENT:
                await self._check_topic(permission.removeprefix(EVENTS))
            elif not is_pattern(permission):
                name = safe(permission, MAX_NAME)
                sentence = f"there is no permission {name!r}{suggest(permission, list(PERMISSIONS))}"
                raise UsageError(sentence, hint=f"Choose from: {', '.join(PERMISSIONS)}; jobs:* is all of an area.")

    async def _check_topic(self, topic: str) -> None:
        """Raise UsageError unless it is the topic of the operator's own events, of which there was one."""
        names = sorted({permission.removeprefix(EVENTS) for permission in PERMISSIONS if permission.startswith(EVENTS)})
        known = {*names, *await self.log.topics()}
        if topic not in known:
            sentence = f"there is no topic {safe(topic, MAX_NAME)!r}{suggest(topic, sorted(known))}"
            choice = f"Choose from: {', '.join(sorted(known))}; * stands for all."
            raise UsageError(sentence, hint=f"{choice} A topic of your own exists from its first event on.")

    def _record(
        self,
        action: str,
        actor: Principal,
        key: ApiKey,
        changes: Sequence[Change],
        *,
        iface: str = "",
        reason: str = "",
    ) -> None:
        """Record a change or use of ``key`` in the audit log. ``iface``: where it came from; empty: as ``actor``."""
        iface = iface or ("cli" if actor.type == "cli" else "api")
        target = Target("key", key.id, key.name)
        self.auditor.record(
            make_entry(
                action, actor, at=self.clock.now(), iface=iface, target=target, changes=changes, reason=reason or None
            )
        )


@asynccontextmanager
async def api_keys(
    *,
    database: AsyncDatabase[dict[str, Any]],
    log: EventLog,
    bus: Bus,
    auditor: Auditor,
    clock: Clock,
    signer: Signer,
    tasks: Tasks,
) -> AsyncIterator[ApiKeys]:
    keys = MongoKeys(journaled(database[COLLECTION]), log, bus, auditor, clock, signer)

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


def _check_guild(guild: str | None) -> None:
    if guild is not None and not DISCORD_ID.matches(guild):
        raise UsageError(f"{safe(guild, 40)!r} is not a guild; its id is {DISCORD_ID.description}.")


def _check_name(name: str) -> None:
    if not (1 <= len(name) <= MAX_NAME and name.isprintable() and name == name.strip()):
        raise UsageError(
            f"{safe(name)!r} is not a valid name for a key.", hint=f"Use 1 to {MAX_NAME} printable characters."
        )


def _require_key(document: Mapping[str, Any], signer: Signer) -> ApiKey:
    """The key in ``document``. Raises IntegrityError, which names it, if it is malformed or not signed by this bot."""
    try:
        return parse_key(document, signer)
    except FAULTS as error:
        raise malformed_error(COLLECTION, {safe(document["_id"], 80): describe_fault(error)}) from error


def _latest(address: str, addresses: Sequence[str]) -> tuple[str, ...]:
    """``addresses`` with ``address`` as the first one, at most `_ADDRESSES`."""
    return (address, *(other for other in addresses if other != address))[:_ADDRESSES]


def _name(actor: Principal) -> str:
    return actor.name or actor.id

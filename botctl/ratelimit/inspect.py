"""What operators see of rate limits, and the one thing they do to them: policies, where somebody stands, a reset.

Keys are found with SCAN, which serves others in between, and never with KEYS.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass
from typing import Final, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from botctl.core.clock import Clock
from botctl.core.config.sources import suggest
from botctl.core.contracts.audit_entry import Change, Target, current_operator, make_entry
from botctl.core.contracts.protocols import Auditor
from botctl.core.contracts.throttle import Limit, Scope, parse
from botctl.core.errors import UsageError, store_hint, translated
from botctl.core.escape import safe
from botctl.ratelimit import keys
from botctl.ratelimit.gcra import US_PER_S, rate, state_of
from botctl.ratelimit.keys import Key, Subject
from botctl.ratelimit.statistics import CHECKS, DENIED

_SCAN_COUNT: Final = 1000
_HOUR_S: Final = 3600
_reaching_redis: Final = translated(
    RedisError, OSError, sentence="The rate limits cannot be read: Redis fails ({error}).", hint=store_hint("Redis")
)


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """A policy. ``owner`` is the part of botctl that has it, empty where it is known from its counts alone.

    ``subjects``: how many have used some of it and not all of it back. ``checks``, ``denied``: in the last 24 hours.
    """

    policy: str
    owner: str
    limits: str
    subjects: int
    checks: int
    denied: int


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """Where a subject stands with one limit. All is None but ``full_in_s`` where it is not known what the limit is.

    ``retry_after_s`` is 0 as long as some are ``left``.
    """

    policy: str
    scope: str
    subject: str
    limit: str | None
    used: int | None
    left: int | None
    retry_after_s: float | None
    full_in_s: float


@dataclass(frozen=True, slots=True)
class Inspector:
    """Looks at the rate limits of ``bot``. Everything raises Unreachable when Redis does not answer."""

    redis: Redis
    bot: str

    async def policies(self, now_s: float) -> list[PolicyRow]:
        """All policies, by owner and name. ``now_s``: seconds since 1970."""
        with _reaching_redis:
            declared = await self._declared()
            counts = await self._counts(int(now_s) // _HOUR_S)
            subjects = Counter([key.policy async for key, _ in self._keys("")])
        owners = {policy: owner for owner, table in declared.items() for policy in table}
        limits = {policy: text for table in declared.values() for policy, text in table.items()}
        names = {policy for policy, text in limits.items() if text}
        names |= {name for name, _ in (_parted(field) for field in counts)} | set(subjects)
        rows = [
            PolicyRow(
                name,
                owners.get(name, ""),
                limits.get(name, ""),
                subjects[name],
                counts[CHECKS + name],
                counts[DENIED + name],
            )
            for name in names
        ]
        return sorted(rows, key=lambda row: (row.owner or "~", row.policy))

    async def commands(self) -> list[str]:
        """The commands of the bot as its processes last declared them (``ops status``); nothing if none ever ran."""
        with _reaching_redis:
            declared = (await self._declared()).get("bot", {})
        return sorted(name.replace(".", " ") for name in declared if ":" not in name)  # a component has one

    async def places(self, subject: Subject, policy: str | None = None) -> list[LimitStatus]:
        """Where ``subject`` stands, limit by limit, in one moment; nothing where its whole allowance is there.

        Raises:
            UsageError: there is no such policy.
        """
        with _reaching_redis:
            declared = await self._declared()
            await self._check(policy, declared)
            found = await self._found(subject, policy)
            async with self.redis.pipeline(transaction=True) as pipe:
                pipe.time()
                pipe.mget([name for _, name in found])
                (seconds, micros), tats = await pipe.execute() if found else ((0, 0), [])
        limits = _limits(declared)
        now_us = seconds * US_PER_S + micros
        return sorted(
            (
                _place(key, limits.get((key.policy, key.limit)), int(tat), now_us)
                for (key, _), tat in zip(found, tats, strict=True)
                if tat is not None and tat.isdigit() and int(tat) > now_us
            ),
            key=lambda place: (place.policy, place.scope, place.subject),
        )

    async def reset(self, subject: Subject, policy: str | None = None) -> list[Key]:
        """Give ``subject`` its whole allowance back, in every process; returns what was reset.

        A process that counts alone, because Redis fails for it, hears of it when it reaches Redis again.

        Raises:
            UsageError: there is no such policy.
        """
        with _reaching_redis:
            await self._check(policy, await self._declared())
            found = await self._found(subject, policy)
            async with self.redis.pipeline(transaction=False) as pipe:
                for start in range(0, len(found), _SCAN_COUNT):
                    pipe.unlink(*(name for _, name in found[start : start + _SCAN_COUNT]))
                pipe.incr(keys.resets_key(self.bot))
                await pipe.execute()
        return [key for key, _ in found]

    async def _check(self, policy: str | None, declared: Mapping[str, Mapping[str, str]]) -> None:
        """A misspelt policy must not look like one that nobody has used. Where no bot ever ran, nothing is known."""
        names = {name for table in declared.values() for name in table}
        if policy is None or not names or keys.shown(policy) in names:
            return
        names |= {key.policy async for key, _ in self._keys("")}  # also those of components that nobody declared
        if keys.shown(policy) not in names:
            sentence = f"there is no policy {safe(policy, 60)!r}{suggest(keys.shown(policy), sorted(names))}"
            raise UsageError(sentence, hint="`botctl ratelimit list` shows them.")

    async def _found(self, subject: Subject, policy: str | None) -> list[tuple[Key, bytes]]:
        wanted = None if policy is None else keys.shown(policy)
        return [
            (key, name)
            async for key, name in self._keys(subject.id)
            if subject.has(key) and (wanted is None or key.policy == wanted)
        ]

    async def _keys(self, part: str) -> AsyncIterator[tuple[Key, bytes]]:
        """Each state whose subject ends with ``part``, once."""
        seen: set[bytes] = set()  # SCAN may tell a key twice
        async for name in self.redis.scan_iter(match=keys.pattern(self.bot, part), count=_SCAN_COUNT):
            if name not in seen and (key := keys.read(self.bot, name)):
                seen.add(name)
                yield key, name

    async def _declared(self) -> dict[str, dict[str, str]]:
        """What policies the owners declare."""
        found = self.redis.hgetall(keys.policies_key(self.bot))
        tables = await cast(Awaitable[dict[bytes, bytes]], found)  # redis-py's type is that of both its clients
        return {owner.decode(): json.loads(table) for owner, table in tables.items()}

    async def _counts(self, hour: int) -> Counter[str]:
        """Checks and denials by policy, up to and with ``hour``."""
        async with self.redis.pipeline(transaction=False) as pipe:
            for n in range(keys.HOURS):
                pipe.hgetall(keys.hour_key(self.bot, hour - n))
            hours: list[dict[bytes, bytes]] = await pipe.execute()
        total: Counter[str] = Counter()
        for counts in hours:
            total.update({field.decode(): int(count) for field, count in counts.items()})
        return total


async def reset(
    inspector: Inspector, auditor: Auditor, clock: Clock, subject: Subject, policy: str | None
) -> list[Key]:
    """`Inspector.reset`, on the record: ``ratelimit.reset``."""
    gone = await inspector.reset(subject, policy)
    changes = [Change("limits", None, len(gone)), *([Change("policy", None, keys.shown(policy))] if policy else [])]
    target = Target(subject.scope, subject.id)
    auditor.record(
        make_entry("ratelimit.reset", current_operator(), at=clock.now(), iface="cli", target=target, changes=changes)
    )
    return gone


def _place(key: Key, limit: Limit | None, tat_us: int, now_us: int) -> LimitStatus:
    if limit is None:
        return LimitStatus(key.policy, key.limit, key.subject, None, None, None, None, (tat_us - now_us) / US_PER_S)
    left, retry_after_us, full_in_us = state_of(tat_us, now_us, rate(limit))
    used = limit.burst - left
    retry_after_s, full_in_s = retry_after_us / US_PER_S, full_in_us / US_PER_S
    return LimitStatus(key.policy, key.limit, key.subject, str(limit), used, left, retry_after_s, full_in_s)


def _limits(declared: Mapping[str, Mapping[str, str]]) -> dict[tuple[str, str], Limit]:
    """Each limit, by its policy and its own name. A component goes by its own policy or that of its command."""
    return {
        (policy, name): limit
        for table in declared.values()
        for policy, text in table.items()
        for name, limit in keys.named(parse(text, scopes=frozenset(Scope)))
    }


def _parted(field: str) -> tuple[str, str]:
    what, _, policy = field.partition(" ")
    return policy, what

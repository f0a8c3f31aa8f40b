"""Show the state of rate limits to operators, and reset them.

Keys are found with SCAN. KEYS would block Redis until it has read all keys.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass
from typing import Final, cast

from redis.asyncio import Redis

from botctl.core.clock import Clock
from botctl.core.contracts.audit_entry import Change, Principal, Target, current_operator, make_entry
from botctl.core.contracts.protocols import Auditor
from botctl.core.contracts.throttle import Limit, Scope, parse
from botctl.core.driver_errors.redis import reaching_redis
from botctl.core.errors import NotFound
from botctl.core.escape import safe
from botctl.core.suggest import suggest
from botctl.ratelimit import keys
from botctl.ratelimit.gcra import US_PER_S, current_state, rate
from botctl.ratelimit.keys import Key, Subject
from botctl.ratelimit.statistics import CHECKS, DENIED

_SCAN_COUNT: Final = 1000
_HOUR_S: Final = 3600
_reaching_redis: Final = reaching_redis("The rate limits cannot be read: Redis fails ({error}).")


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """A policy (the limits of a command, component or other use) with its statistics."""

    policy: str  # its name for people, ``ops.status``
    owner: str  # the part of botctl that declared it; empty if none did
    limits: str  # as in the settings
    subjects: int  # users, guilds etc. that have used calls which are not available again yet
    checks: int  # in the last 24 hours
    denied: int  # in the last 24 hours


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """How much of one limit a subject has used. If no process declared the limit, only ``full_in_s`` is known."""

    policy: str
    scope: str  # ``user``, or ``user-2`` for the second limit of that scope
    subject: str  # the id of the user, guild, ...
    limit: str | None  # as in the settings
    used: int | None
    left: int | None
    retry_after_s: float | None  # wait before the next call; 0 while some are left
    full_in_s: float  # until all calls are available again


@dataclass(frozen=True, slots=True)
class Inspector:
    """Inspects the rate limits of ``bot``. Every method raises Unreachable when Redis does not answer."""

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
        names |= {name for name, _ in (_split_field(field) for field in counts)} | set(subjects)
        rows = [
            PolicyRow(
                keys.display_name(name),
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
        """The policies that the bot declared last, such as ``ops status`` and ``user/Ban``; empty if it never ran."""
        with _reaching_redis:
            return sorted(filter(keys.is_command, (await self._declared()).get("bot", {})))

    async def statuses(self, subject: Subject, policy: str | None = None) -> list[LimitStatus]:
        """The limits that ``subject`` has used, all at one moment. Raises NotFound if there is no such policy."""
        with _reaching_redis:
            declared = await self._declared()
            matches = await self._matching_keys(subject, await self._find(policy, declared))
            async with self.redis.pipeline(transaction=True) as pipe:
                pipe.time()
                pipe.mget([name for _, name in matches])
                (seconds, micros), tats = await pipe.execute() if matches else ((0, 0), [])
        limits = _limits(declared)
        now_us = seconds * US_PER_S + micros
        return sorted(
            (
                _limit_status(key, limits.get((key.policy, key.limit)), int(tat), now_us)
                for (key, _), tat in zip(matches, tats, strict=True)
                if tat is not None and tat.isdigit() and int(tat) > now_us
            ),
            key=lambda status: (status.policy, status.scope, status.subject),
        )

    async def reset(self, subject: Subject, policy: str | None = None) -> list[Key]:
        """Make all calls available to ``subject`` again in every process; return the keys. Raises as `statuses`.

        A process that counts without Redis gets the reset when it reaches Redis again.
        """
        with _reaching_redis:
            matches = await self._matching_keys(subject, await self._find(policy, await self._declared()))
            async with self.redis.pipeline(transaction=False) as pipe:
                for start in range(0, len(matches), _SCAN_COUNT):
                    pipe.unlink(*(name for _, name in matches[start : start + _SCAN_COUNT]))
                pipe.incr(keys.resets_key(self.bot))
                await pipe.execute()
        return [key._replace(policy=keys.display_name(key.policy)) for key, _ in matches]

    async def _find(self, policy: str | None, declared: Mapping[str, Mapping[str, str]]) -> set[str] | None:
        """The policies that an operator means by ``policy``; None for all.

        Raises NotFound if there is no such policy, which must not look like an unused one.
        """
        if policy is None:
            return None
        names = {name for table in declared.values() for name in table}
        if found := keys.find_policies(policy, names):
            return found
        names |= {key.policy async for key, _ in self._keys("")}  # also undeclared ones, of components
        found = keys.find_policies(policy, names)
        if not found and any(declared.values()):
            shown = sorted({keys.display_name(name) for name in names})
            sentence = f"there is no policy {safe(policy, 60)!r}{suggest(keys.display_name(policy), shown)}"
            raise NotFound(sentence, hint="`botctl ratelimit list` shows them.")
        return found

    async def _matching_keys(self, subject: Subject, policies: set[str] | None) -> list[tuple[Key, bytes]]:
        """The keys of ``subject``, under all policies or some: parsed, and as stored."""
        return [
            (key, name)
            async for key, name in self._keys(subject.id)
            if subject.owns(key) and (policies is None or key.policy in policies)
        ]

    async def _keys(self, part: str) -> AsyncIterator[tuple[Key, bytes]]:
        """Each key whose subject ends with ``part``, once: parsed, and as stored."""
        seen: set[bytes] = set()  # SCAN may return a key twice
        async for name in self.redis.scan_iter(match=keys.scan_pattern(self.bot, part), count=_SCAN_COUNT):
            if name not in seen and (key := keys.parse_key(self.bot, name)):
                seen.add(name)
                yield key, name

    async def _declared(self) -> dict[str, dict[str, str]]:
        """The declared policies by owner."""
        reply = self.redis.hgetall(keys.policies_key(self.bot))
        tables = await cast(Awaitable[dict[bytes, bytes]], reply)  # redis-py types it for both its clients
        return {owner.decode(): json.loads(table) for owner, table in tables.items()}

    async def _counts(self, hour: int) -> Counter[str]:
        """Checks and denials by policy, in the hours up to ``hour``."""
        async with self.redis.pipeline(transaction=False) as pipe:
            for n in range(keys.HOURS):
                pipe.hgetall(keys.hour_key(self.bot, hour - n))
            hours: list[dict[bytes, bytes]] = await pipe.execute()
        total: Counter[str] = Counter()
        for counts in hours:
            total.update({field.decode(): int(count) for field, count in counts.items()})
        return total


async def reset(
    inspector: Inspector,
    auditor: Auditor,
    clock: Clock,
    subject: Subject,
    policy: str | None,
    *,
    actor: Principal | None = None,
    reason: str = "",
) -> list[Key]:
    """`Inspector.reset` with an audit entry, ``ratelimit.reset``. ``actor``: by default, the operator."""
    removed = await inspector.reset(subject, policy)
    changes = [
        Change("limits", None, len(removed)),
        *([Change("policy", None, keys.display_name(policy))] if policy else []),
    ]
    auditor.record(
        make_entry(
            "ratelimit.reset",
            actor or current_operator(),
            at=clock.now(),
            iface="api" if actor else "cli",
            target=Target(subject.scope, subject.id),
            reason=reason or None,
            changes=changes,
        )
    )
    return removed


def _limit_status(key: Key, limit: Limit | None, tat_us: int, now_us: int) -> LimitStatus:
    shown = keys.display_name(key.policy)
    if limit is None:
        return LimitStatus(shown, key.limit, key.subject, None, None, None, None, (tat_us - now_us) / US_PER_S)
    left, retry_after_us, full_in_us = current_state(tat_us, now_us, rate(limit))
    used = limit.burst - left
    retry_after_s, full_in_s = retry_after_us / US_PER_S, full_in_us / US_PER_S
    return LimitStatus(shown, key.limit, key.subject, str(limit), used, left, retry_after_s, full_in_s)


def _limits(declared: Mapping[str, Mapping[str, str]]) -> dict[tuple[str, str], Limit]:
    """Each limit by its policy and its name. A component uses its own policy or that of its command."""
    return {
        (policy, name): limit
        for table in declared.values()
        for policy, text in table.items()
        for name, limit in keys.name_limits(parse(text, scopes=frozenset(Scope)))
    }


def _split_field(field: str) -> tuple[str, str]:
    counter, _, policy = field.partition(" ")
    return policy, counter

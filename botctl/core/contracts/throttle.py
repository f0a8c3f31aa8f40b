"""Parse throttles: limits on how often something may be called, written as text in code, settings and options.

``5/10s per user, 50/1m burst 80 per guild, 500/1s global``: a call must be within all of these limits::

    limits = limit ("," limit)*                 at most 8
    limit  = count "/" period clause*           clauses in any order; the scope is required
    period = [number] unit                      unit: ms s m h d; "5/m" is "5/1m"; 1 ms to 366 days
    clause = "per" scope | "global" | "burst" number

A limit refills ``count`` calls per ``period``, evenly, and allows at most ``burst`` (default: ``count``) at once.
`format_limits` is the inverse of `parse`.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from botctl.core.contracts.invocation import Invocation

EXAMPLE = "5/10s per user, 50/1m per guild"
MAX_LIMITS = 8
MAX_COUNT = 1_000_000
MAX_REFILL_S = 366 * 86_400.0
"""The longest time in which a limit refills: Lua counts its microseconds in floats, exact up to 2**53."""
MIN_PERIOD_S = 0.001

_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_RATE = re.compile(r"(?P<count>\d{1,12})\s*/\s*(?P<number>\d{1,12})?\s*(?P<unit>[a-z]+)(?=\s|$)", re.ASCII)


class Scope(enum.StrEnum):
    """Which calls are counted together.

    ``MEMBER`` is a user in one guild; ``GLOBAL`` is all calls. ``KEY`` and ``ADDRESS`` are API clients, ``CONNECTION``
    is one of their connections.
    """

    USER = "user"
    MEMBER = "member"
    CHANNEL = "channel"
    GUILD = "guild"
    GLOBAL = "global"
    KEY = "key"
    ADDRESS = "address"
    CONNECTION = "connection"


COMMAND_SCOPES = frozenset({Scope.USER, Scope.MEMBER, Scope.CHANNEL, Scope.GUILD, Scope.GLOBAL})
API_SCOPES = frozenset({Scope.ADDRESS, Scope.KEY, Scope.CONNECTION, Scope.GLOBAL})
GLOBAL_SUBJECT = "all"
LOCAL_ADDRESS = "local"  # the subject of a call through a Unix socket
"""The subject (the id that calls are counted for) of `Scope.GLOBAL`."""


@dataclass(frozen=True, slots=True)
class Limit:
    """``count`` calls per ``period_s`` seconds for each subject of ``scope``, at most ``burst`` at once."""

    count: int
    period_s: float
    scope: Scope
    burst: int = 0  # 0 becomes ``count``

    def __post_init__(self) -> None:
        if not self.burst:
            object.__setattr__(self, "burst", self.count)

    def __str__(self) -> str:
        burst = "" if self.burst == self.count else f" burst {self.burst}"
        scope = "global" if self.scope is Scope.GLOBAL else f"per {self.scope}"
        return f"{self.count}/{_format_period(self.period_s)}{burst} {scope}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision of a limiter about one call.

    ``retry_after_s`` is 0 when allowed; ``limit`` is the limit that is used up. ``source``: ``redis``, ``local`` (this
    process alone, since Redis did not answer in time) or ``none`` (no limit applies).
    """

    allowed: bool
    retry_after_s: float = 0.0
    limit: Limit | None = None
    source: str = "none"


def parse(text: str, *, scopes: frozenset[Scope] = COMMAND_SCOPES) -> tuple[Limit, ...]:
    """Parse the limits in ``text``; empty text means no limit. ``scopes``: the scopes that are allowed here.

    Raises:
        ValueError: a sentence with the wrong part and an example.
    """
    if not text.strip():
        return ()
    parts = text.split(",")
    if len(parts) > MAX_LIMITS:
        raise ValueError(f"a throttle has at most {MAX_LIMITS} limits, this one has {len(parts)}")
    limits = tuple(_parse_limit(part.strip(), scopes) for part in parts)
    for index, limit in enumerate(limits):
        if limit in limits[:index]:
            raise ValueError(f"throttle limit {str(limit)!r} is there twice")
    return limits


def format_limits(limits: tuple[Limit, ...]) -> str:
    """The canonical text of ``limits``: ``parse(format_limits(x)) == x``."""
    return ", ".join(map(str, limits))


def subject(scope: Scope, invocation: Invocation) -> str | None:
    """The id that ``invocation`` is counted for: of its user, channel and so on; None for a scope of `API_SCOPES`.

    A direct message has no guild. There the user takes the guild's place (``dm-<user>``), so that limits per guild
    still apply.
    """
    user = invocation.actor.id
    guild = invocation.guild or f"dm-{user}"
    match scope:
        case Scope.USER:
            return user
        case Scope.GUILD:
            return guild
        case Scope.MEMBER:
            return f"{guild}-{user}"
        case Scope.CHANNEL:
            return invocation.channel or guild
        case Scope.GLOBAL:
            return GLOBAL_SUBJECT
        case _:
            return None


def address_subject(address: str) -> str:
    """The subject of a call from ``address``: an IPv4 address, or the /64 network of an IPv6 address.

    One customer gets at least a /64 (RFC 6177, RFC 7421). Any other text (a Unix socket's path) becomes ``local``.
    """
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return LOCAL_ADDRESS
    if isinstance(ip, IPv6Address):
        return str(ip.ipv4_mapped or ip_network((ip, 64), strict=False))
    return str(ip)


def _parse_limit(part: str, scopes: frozenset[Scope]) -> Limit:
    rate = _RATE.match(part.lower())
    if rate is None:
        raise _limit_error(part, "does not begin with a count and a period")
    number, unit = rate["number"] or "1", rate["unit"]
    if unit not in _UNITS_MS:
        raise _limit_error(part, f"has the unknown unit {unit!r} (known: ms, s, m, h, d)")
    scope, burst = _parse_clauses(part, part.lower()[rate.end() :].split(), scopes)
    count = int(rate["count"])
    limit = Limit(count, int(number) * _UNITS_MS[unit] / 1000, scope, count if burst is None else burst)
    _check_bounds(part, limit, burst)
    return limit


def _parse_clauses(part: str, words: list[str], scopes: frozenset[Scope]) -> tuple[Scope, int | None]:
    scope: Scope | None = None
    burst: int | None = None
    while words:
        match words:
            case ["global", *rest] if scope is None:
                scope, words = _parse_scope(part, "global", scopes), rest
            case ["per", name, *rest] if scope is None:
                scope, words = _parse_scope(part, name, scopes), rest
            case ["burst", number, *rest] if burst is None and re.fullmatch(r"\d{1,12}", number, re.ASCII):
                burst, words = int(number), rest
            case _:
                raise _limit_error(part, f"cannot be read from {' '.join(words)!r} on")
    if scope is None:
        raise _limit_error(part, f"has no scope ({_format_scopes(scopes)})")
    return scope, burst


def _parse_scope(part: str, name: str, scopes: frozenset[Scope]) -> Scope:
    if name not in scopes:
        raise _limit_error(part, f"counts per {name!r}, which is not known here (known: {_format_scopes(scopes)})")
    return Scope(name)


def _check_bounds(part: str, limit: Limit, burst: int | None) -> None:
    if not 1 <= limit.count <= MAX_COUNT:
        raise _limit_error(part, f"must count between 1 and {MAX_COUNT}")
    if burst is not None and not 1 <= burst <= MAX_COUNT:
        raise _limit_error(part, f"must have a burst between 1 and {MAX_COUNT}")
    if not MIN_PERIOD_S <= limit.period_s <= MAX_REFILL_S:
        raise _limit_error(part, "must have a period between 1 ms and 366 days")
    if limit.period_s * 1_000_000 < limit.count:
        raise _limit_error(part, "gives back more than one call per microsecond")
    if limit.burst * limit.period_s / limit.count > MAX_REFILL_S:
        raise _limit_error(part, "needs more than 366 days to be full again")


def _format_period(period_s: float) -> str:
    period_ms = round(period_s * 1000)
    unit, size = next((unit, size) for unit, size in _UNITS_MS.items() if period_ms % size == 0)
    return f"{period_ms // size}{unit}"


def _format_scopes(scopes: frozenset[Scope]) -> str:
    words = ("global" if scope is Scope.GLOBAL else f"per {scope}" for scope in Scope if scope in scopes)
    return ", ".join(words)


def _limit_error(part: str, problem: str) -> ValueError:
    excerpt = f"{part:.60}"  # it may come from outside
    return ValueError(f"throttle limit {excerpt!r} {problem}; write for example {EXAMPLE!r}")

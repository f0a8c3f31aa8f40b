"""Every limit of the sandbox as a setting, with Discord's value as its default.

docs/sandbox-limits.md explains each and names its source. `limiter` and `session` enforce them.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from botctl.core.errors import UsageError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_RATE = re.compile(r"(\d{1,9})\s*/\s*(\d{0,9}(?:\.\d{1,9})?)\s*([smhd])")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``count`` in the ``per_s`` seconds that the first one starts. Written ``5/2s``; units: s, m, h, d."""

    count: int
    per_s: float

    def __str__(self) -> str:
        return f"{self.count}/{self.per_s:g}s"

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Raises ValueError."""
        match = _RATE.fullmatch(text.strip())
        if match is None:
            raise ValueError("must be like 5/2s")
        per_s = float(match[2] or 1) * _UNITS[match[3]]
        if per_s <= 0:
            raise ValueError("needs a period, like 5/2s")
        return cls(int(match[1]), per_s)


@dataclass(frozen=True)
class Limits:
    """All limits. The window of a rate starts with its first request."""

    # REST
    enforced: bool = True  # False: REST requests are not counted
    requests: Rate = Rate(50, 1)  # of a bot, or of an address without a token
    invalid_requests: Rate = Rate(10_000, 600)  # 401, 403 and 429 of an address before its ban
    ban_s: float = 3600.0
    # Routes, counted in each channel, guild or webhook
    other_routes: Rate = Rate(10, 10)
    create_message: Rate = Rate(5, 5)
    edit_message: Rate = Rate(5, 5)
    delete_message: Rate = Rate(5, 1)
    bulk_delete: Rate = Rate(1, 1)
    reactions: Rate = Rate(1, 0.25)
    typing: Rate = Rate(5, 5)
    edit_channel: Rate = Rate(10, 15)
    rename_channel: Rate = Rate(2, 600)  # changes of name or topic
    emojis: Rate = Rate(30, 3600)
    commands: Rate = Rate(5, 20)  # requests that change commands
    webhooks: Rate = Rate(5, 2)
    # Commands and interactions
    command_creates: Rate = Rate(200, 86_400)  # new commands of an application and scope
    response_s: float = 3.0  # for the callback of an interaction
    token_s: float = 900.0  # lifetime of an interaction's token
    kept: int = 20_000  # interactions; the oldest are dropped first
    # Gateway
    identifies: Rate = Rate(1000, 86_400)  # of a bot
    max_concurrency: int = 1  # shards that may IDENTIFY together
    concurrency_s: float = 5.0  # between two IDENTIFYs with the same shard % max_concurrency
    heartbeat_s: float = 41.25  # the interval that HELLO tells the client
    heartbeat_grace: float = 1.5  # times ``heartbeat_s`` without a heartbeat: the connection is closed
    ack_s: float = 0.02  # delay of an ACK: disnake notes the time of a heartbeat only after sending it
    payload_bytes: int = 4096  # of one frame from the client
    sends: Rate = Rate(120, 60)  # frames from the client
    resume_window_s: float = 180.0  # after a disconnect
    buffer: int = 2000  # dispatches kept for a RESUME
    guilds_per_shard: int = 2500
    all_members: Rate = Rate(1, 30)  # requests for all members of a guild

    def replace(self, changes: Mapping[str, Any]) -> Limits:
        """A copy with ``changes``: name to value, or to its text as in a setting. Raises UsageError."""
        return dataclasses.replace(self, **{name: self._parsed(name, value) for name, value in changes.items()})

    def as_text(self) -> dict[str, Any]:
        """Each limit by name, as it is written in a setting."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: str(value) if isinstance(value, Rate) else value for name, value in values.items()}

    def _parsed(self, name: str, value: Any) -> Any:
        if name not in NAMES:
            similar = difflib.get_close_matches(name, NAMES, n=1)
            hint = f"Did you mean {similar[0]}?" if similar else f"Limits: {', '.join(NAMES)}."
            raise UsageError(f"There is no limit “{name}”.", hint=hint)
        try:
            return _parse(value, getattr(self, name), type(getattr(Limits, name)))
        except (TypeError, ValueError) as error:
            raise UsageError(f"The limit {name} cannot be “{value}”.", hint=f"It {error}.") from None


NAMES = tuple(limit.name for limit in dataclasses.fields(Limits))
_UNLIMITED = Rate(10**9, 1)
LENIENT = Limits(
    enforced=False, identifies=_UNLIMITED, concurrency_s=0.0, all_members=_UNLIMITED, command_creates=_UNLIMITED
)
"""For tests that are not about limits: a bot never has to wait."""


def parse_assignments(words: Iterable[str]) -> dict[str, str]:
    """Parse ``NAME=VALUE`` words of a command line. Raises UsageError."""
    assignments: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"“{word}” is not a limit.", hint="Write NAME=VALUE, like create_message=5/5s.")
        assignments[name.strip()] = value.strip()
    return assignments


def _parse(value: Any, old: Any, kind: type) -> Any:
    """Convert ``value`` to ``kind``. A rate may be only a count: it then keeps the period of ``old``."""
    if kind is bool:
        return _parse_bool(value)
    if kind is not Rate:
        return _parse_number(value, kind)
    if isinstance(value, Rate):
        return value
    if isinstance(value, str) and "/" in value:
        return Rate.parse(value)
    try:
        return Rate(_parse_number(value, int), old.per_s)
    except ValueError:
        raise ValueError(f"must be a rate like {old}, or only its count") from None


def _parse_bool(value: Any) -> bool:
    known = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
    flag = known.get(str(value).lower())
    if flag is None:
        raise ValueError("must be true or false")
    return flag


def _parse_number(value: Any, kind: type) -> Any:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not 0 <= number < math.inf or (kind is int and number != int(number)):
        raise ValueError("must be a whole number" if kind is int else "must be a number, not below 0")
    return kind(number)

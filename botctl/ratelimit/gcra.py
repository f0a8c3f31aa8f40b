"""GCRA, the arithmetic of a limit: one integer per subject, in Python and in one Lua script.

The state is the *theoretical arrival time* (TAT) in integer microseconds: when the subject's allowance will be full
again. A call moves it one interval ahead; it is refused when that would lead more than ``capacity`` into the future.
Refused calls move nothing, so whoever waits ``retry_after`` is let in, and a raised limit frees people at once.

Integer microseconds, because fractional ones lose the last call of a burst. The interval is rounded up, so no window of
t seconds ever admits more than ``burst + t x count / period``.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from botctl.core.throttle import Limit

US_PER_S = 1_000_000


class Rate(NamedTuple):
    """A limit in microseconds: one call back per ``interval_us``; full after ``capacity_us``."""

    interval_us: int
    capacity_us: int


class Decision(NamedTuple):
    """``retry_after_us`` is 0 when allowed; ``tat_us`` is the state afterwards."""

    retry_after_us: int
    tat_us: int


@functools.lru_cache(maxsize=1024)
def rate(limit: Limit) -> Rate:
    """``limit`` as GCRA counts it."""
    interval_us = -(-round(limit.period_s * US_PER_S) // limit.count)
    return Rate(interval_us, interval_us * limit.burst)


def decide(tat_us: int, now_us: int, rate: Rate) -> Decision:
    """One call at ``now_us`` of a subject whose state is ``tat_us`` (0: never seen).

    A state further ahead than the limit itself can lead (the limit was loosened, the server's clock was set back)
    counts as "all used up", not as a longer sentence.
    """
    start_us = min(max(tat_us, now_us), now_us + rate.capacity_us)
    wait_us = start_us + rate.interval_us - rate.capacity_us - now_us
    return Decision(wait_us, tat_us) if wait_us > 0 else Decision(0, start_us + rate.interval_us)


Check = Sequence[tuple[str, Rate]]
"""The limits that one call must pass, all or none: a distinct key and a rate each."""


class Answer(NamedTuple):
    """``refused_by`` is the index of the limit with the longest wait, or -1: allowed."""

    refused_by: int
    retry_after_us: int


def arguments(checks: Iterable[Check]) -> tuple[list[str], str]:
    """The script's KEYS, each once, and its one argument: per check ``[key index, interval, capacity, ...]``."""
    index: dict[str, int] = {}
    plan = [
        [number for key, rate in check for number in (index.setdefault(key, len(index) + 1), *rate)] for check in checks
    ]
    return list(index), json.dumps(plan, separators=(",", ":"))


def answers(reply: Sequence[int]) -> list[Answer]:
    """What the script replied, one answer per check."""
    pairs = zip(reply[::2], reply[1::2], strict=True)
    return [Answer(by - 1, wait_us) for by, wait_us in pairs]


# One TIME, one MGET and at most one SET per key for the whole batch. Each check sees what those before it took.
# Needs of the server: EVALSHA, SCRIPT LOAD, TIME, MGET, SET (ACL: +evalsha +script|load +time +mget +set); no module.
SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local checks = cjson.decode(ARGV[1])
local tats, moved, reply = {}, {}, {}
if #KEYS > 0 then
  for k, tat in ipairs(redis.call('MGET', unpack(KEYS))) do
    tats[k] = tonumber(tat or 0) or 0
  end
end
for _, check in ipairs(checks) do
  local by, longest, fresh = 0, 0, {}
  for j = 1, #check, 3 do
    local interval, capacity = check[j + 1], check[j + 2]
    local start = math.min(math.max(tats[check[j]], now), now + capacity)
    local wait = start + interval - capacity - now
    if wait > longest then
      by, longest = (j + 2) / 3, wait
    end
    fresh[check[j]] = start + interval
  end
  if by == 0 then
    for k, tat in pairs(fresh) do
      tats[k], moved[k] = tat, true
    end
  end
  reply[#reply + 1] = by
  reply[#reply + 1] = longest
end
for k = 1, #KEYS do
  if moved[k] then
    redis.call('SET', KEYS[k], tats[k], 'PX', math.ceil((tats[k] - now) / 1000))
  end
end
return reply
"""
SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

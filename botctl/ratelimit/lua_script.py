"""The Lua script of the limiter: the arithmetic of `gcra`, for a batch of checks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from botctl.ratelimit.gcra import GcraRate

Check = Sequence[tuple[str, GcraRate]]  # one call: the key and the rate of each limit; all are counted, or none


class ScriptResult(NamedTuple):
    """The result of a check. ``denied_by``: the index of the limit with the longest wait; -1 if the call is allowed."""

    denied_by: int
    retry_after_us: int


def build_arguments(checks: Iterable[Check]) -> tuple[list[str], str]:
    """The script's KEYS, each once, and its one argument: per check ``[key index, interval, capacity, ...]``."""
    index: dict[str, int] = {}
    plan = [
        [number for key, rate in check for number in (index.setdefault(key, len(index) + 1), *rate)] for check in checks
    ]
    return list(index), json.dumps(plan, separators=(",", ":"))


def parse_reply(reply: Sequence[int]) -> list[ScriptResult]:
    """The script's reply, one result per check."""
    pairs = zip(reply[::2], reply[1::2], strict=True)
    return [ScriptResult(by - 1, wait_us) for by, wait_us in pairs]


# One TIME, one MGET and at most one SET per key and batch. Each check sees the calls before it.
# ACL of Redis: +evalsha +script|load +time +mget +set; no module.
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
    if tats[check[j]] > now + capacity then
      tats[check[j]], moved[check[j]] = now + capacity, true
    end
    local start = math.max(tats[check[j]], now)
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

"""The Lua scripts of the login budget: the arithmetic of `budget` in Redis, in one step for all processes.

``botctl:{login:<fingerprint>}:logins`` is a sorted set of ``<shard>:<id>`` by time, ``…:limit`` a hash of what Discord
said last. Both expire. Times are those of the server. ACL of Redis: +evalsha +script|load +time +zadd +zcount
+zrangebyscore +zrem +zremrangebyscore +hset +hmget +pexpire
"""

from __future__ import annotations

from typing import Final

_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# ARGV: total, remaining, milliseconds until the reset, max_concurrency, age of the answer in ms, DAY_MS
OBSERVE: Final = (
    _NOW
    + """
local asked = now - ARGV[5]
local known = tonumber(redis.call('HMGET', KEYS[2], 'asked')[1] or 0)
if asked >= known then
  redis.call('HSET', KEYS[2], 'total', ARGV[1], 'remaining', ARGV[2], 'resets', asked + ARGV[3], 'concurrency', ARGV[4],
    'asked', asked)
  redis.call('PEXPIRE', KEYS[2], 2 * ARGV[6])
end
return 1
"""
)

# ARGV: shard, id (empty: only look), reserve, spacing in ms, DAY_MS, ARRIVAL_MS, DEFAULT_TOTAL, max_concurrency, then
# <shard>:<id> and age in ms of each login that the caller's file knows.
# Returns: wait in ms (0: counted), 1 if the budget is short, left, used, total, ms until the reset, max_concurrency.
ENTER: Final = (
    _NOW
    + """
local shard, reserve, spacing = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])
local day, arrival = tonumber(ARGV[5]), tonumber(ARGV[6])
for i = 9, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], 'NX', now - ARGV[i + 1], ARGV[i])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - day)
local said = redis.call('HMGET', KEYS[2], 'total', 'remaining', 'resets', 'concurrency', 'asked')
local total = tonumber(said[1] or ARGV[7])
local concurrency = tonumber(said[4] or ARGV[8])
local base, since, resets = total, now - day + 1, nil
if said[5] then
  local asked = tonumber(said[5])
  local valid = tonumber(said[3])
  local begun = valid > asked
  if not begun then
    valid = asked + day
  end
  if now < valid then
    base, since, resets = tonumber(said[2]), asked - arrival, valid
  elseif begun then
    since = math.max(since, valid - arrival)
  end
end
if not resets then
  local oldest = redis.call('ZRANGEBYSCORE', KEYS[1], since, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  resets = tonumber(oldest[2] or now) + day
end
local left = math.max(0, base - redis.call('ZCOUNT', KEYS[1], since, '+inf'))
local wait, short = 0, 0
if left <= reserve then
  wait, short = math.max(1, resets - now), 1
else
  local recent = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. (now - spacing), now, 'WITHSCORES')
  for i = 1, #recent, 2 do
    local other = tonumber(string.match(recent[i], '^%d+'))
    if other % concurrency == shard % concurrency then
      wait = math.max(wait, tonumber(recent[i + 1]) + spacing - now)
    end
  end
end
if wait == 0 and ARGV[2] ~= '' then
  redis.call('ZADD', KEYS[1], now, ARGV[1] .. ':' .. ARGV[2])
  left = left - 1
end
redis.call('PEXPIRE', KEYS[1], 2 * day)
local used = redis.call('ZCOUNT', KEYS[1], '-inf', '+inf')
return {wait, short, left, used, total, resets - now, concurrency}
"""
)

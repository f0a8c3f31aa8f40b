"""The Lua scripts of sessions in Redis, each one atomic step. `sessions` has the keys, `session_documents` the values.

A value that begins with ``>`` is an old text of a session: the digest of its successor follows.
"""

from __future__ import annotations

from typing import Final

CREATE: Final = """
-- KEYS: the session, ids, ends, ids of the person. ARGV: value, id, digest, now, idle, end
local now, ends = tonumber(ARGV[4]), tonumber(ARGV[6])
redis.call('SET', KEYS[1], ARGV[1], 'PX', math.max(1, math.min(tonumber(ARGV[5]), ends - now)))
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('ZADD', KEYS[3], ARGV[6], ARGV[2])
redis.call('SADD', KEYS[4], ARGV[2])
redis.call('PEXPIRE', KEYS[4], math.max(1, ends - now))
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', ARGV[4], 'LIMIT', 0, 100)) do
  redis.call('HDEL', KEYS[2], id)
  redis.call('ZREM', KEYS[3], id)
end
"""
FIND: Final = """
-- KEYS: the session. ARGV: digest, now, how often a use is written, idle, prefix
local key, digest, replaced = KEYS[1], ARGV[1], 0
local value = redis.call('GET', key)
if value and string.sub(value, 1, 1) == '>' then
  digest, replaced = string.sub(value, 2), 1
  key = ARGV[5] .. digest
  value = redis.call('GET', key)
end
if not value then return false end
local now, seen, ends = tonumber(ARGV[2]), tonumber(string.sub(value, 1, 13)), tonumber(string.sub(value, 14, 26))
if seen and ends and now - seen >= tonumber(ARGV[3]) then
  redis.call('SETRANGE', key, 0, ARGV[2])
  redis.call('PEXPIRE', key, math.max(1, math.min(tonumber(ARGV[4]), ends - now)))
end
return {value, digest, replaced}
"""
REPLACE: Final = """
-- KEYS: the session, its next place (the same for an update), ids. ARGV: value, version, id, digest, grace
local value = redis.call('GET', KEYS[1])
if not value or string.sub(value, 27, 32) ~= ARGV[2] then return 0 end
local left = redis.call('PTTL', KEYS[1])
redis.call('SET', KEYS[2], ARGV[1], 'PX', math.max(1, left))
if KEYS[1] ~= KEYS[2] then
  redis.call('SET', KEYS[1], '>' .. ARGV[4], 'PX', ARGV[5])
  redis.call('HSET', KEYS[3], ARGV[3], ARGV[4])
end
return 1
"""
READ: Final = """
-- KEYS: ids, ends, and ids of a person (or ids again). ARGV: prefix, then ids ('*': all of the last key)
local ids = {}
if ARGV[2] == '*' then
  ids = redis.call(KEYS[3] == KEYS[1] and 'HKEYS' or 'SMEMBERS', KEYS[3])
else
  for i = 2, #ARGV do ids[i - 1] = ARGV[i] end
end
local found = {}
for _, id in ipairs(ids) do
  local digest = redis.call('HGET', KEYS[1], id)
  local value = digest and redis.call('GET', ARGV[1] .. digest)
  if value then
    found[#found + 1] = digest
    found[#found + 1] = value
  elseif ARGV[2] == '*' then
    redis.call('HDEL', KEYS[1], id)
    redis.call('ZREM', KEYS[2], id)
    if KEYS[3] ~= KEYS[1] then redis.call('SREM', KEYS[3], id) end
  end
end
return found
"""
REVOKE: Final = """
-- KEYS: ids, ends, ids of the person. ARGV: prefix, id
local digest = redis.call('HGET', KEYS[1], ARGV[2])
redis.call('HDEL', KEYS[1], ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('SREM', KEYS[3], ARGV[2])
return digest and redis.call('DEL', ARGV[1] .. digest) or 0
"""

"""The event log in Redis: one stream per topic, its entries numbered (*offset*) without gaps.

Keys: ``botctl:{<bot>}:ev:<topic>`` is a stream whose ids are ``0-<offset>``, with the event as JSON (`Envelope`)
under ``e``; ``botctl:{<bot>}:events`` is a hash with ``<topic>`` (the epoch), ``<topic>/offset`` (the newest) and
``<topic>/kept`` (see below); ``botctl:{<bot>}:ev-batch:<writer>`` is the number of a writer's last batch, for an hour.

An *epoch* is the id of one numbering of a topic. The log starts a topic again, with a new epoch, when the stream had
entries and is gone (flushed, evicted, another server), or when the hash has no offset (it was evicted). If Redis was
killed and lost only the last entries that this process wrote, the new epoch keeps the others: ``<topic>/kept`` names
the epochs before it, each with the newest of its entries that are kept (``<epoch> <offset> <epoch> <offset> …``), so
that a reader gets none of them twice. Unlike publish/subscribe, a stream lets a reader continue where it stopped.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from redis.asyncio import Redis

from botctl.core.config.settings import Settings
from botctl.core.contracts.event_log import START, Batch, Entry, Envelope, EventLog, EventPage, Position, encode
from botctl.core.driver_errors.redis import reaching_redis
from botctl.core.ids import event_id
from botctl.stores.redis import dedicated_client

KEPT: Final = 10_000  # entries per topic, at least: Redis trims whole nodes of about a hundred
_BLOCKING_CONNECTIONS: Final = 8  # connections for blocking reads
_BATCH_NUMBER_TTL_S: Final = 3600
_KEPT_EPOCHS: Final = 16  # epochs in ``<topic>/kept``; each costs 30 bytes
_reaching_redis: Final = reaching_redis("The events of this bot cannot be reached: Redis failed ({error}).")

# Appends to all topics of a batch, or to none. Redis does not undo the writes of a failed script, so everything that
# can fail comes first: keys of another type, a missing or invalid hash, a stream with ids above the hash's offset (XADD
# would fail).
# KEYS: the hash, the writer's key, a stream per topic. ARGV: a new epoch, KEPT, the number of the batch, its TTL in
# seconds, _KEPT_EPOCHS; then per topic: name, epoch and offset that the caller knows, number of entries, entries.
# Replies with epoch and newest offset per topic. If a topic starts again, even a repeated batch is written to it: the
# first write was lost.
_APPEND: Final = """
local function kept_epochs(before, epoch, last)
  local kept = {}
  for earlier, offset in string.gmatch(before or '', '(%S+) (%d+)') do
    kept[#kept + 1] = earlier .. ' ' .. math.min(tonumber(offset), last)
  end
  kept[#kept + 1] = epoch .. ' ' .. last
  return table.concat(kept, ' ', math.max(1, #kept - tonumber(ARGV[5]) + 1))
end
local repeated = redis.call('GET', KEYS[2]) == ARGV[3]
local plan, at = {}, 6
for k = 3, #KEYS do
  local topic, epoch, offset, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local state = redis.call('HMGET', KEYS[1], topic, topic .. '/offset', topic .. '/kept')
  local last = state[1] and tonumber(state[2] or '')
  local newest = redis.call('XREVRANGE', KEYS[k], '+', '-', 'COUNT', 1)[1]
  local reached = newest and (tonumber(string.match(newest[1], '^0%-(%d+)$') or '') or math.huge) or 0
  local renew = not last or reached > last or (last > 0 and redis.call('EXISTS', KEYS[k]) == 0)
  local kept
  if renew then
    state[1] = ARGV[1]
  elseif state[1] == epoch and last < offset then
    kept = kept_epochs(state[3], epoch, last)
    state[1] = ARGV[1]
  end
  plan[k] = {topic = topic, epoch = state[1], last = renew and 0 or last, renew = renew, kept = kept, at = at + 3,
    count = count}
  at = at + 4 + count
end
local reply = {}
for k = 3, #KEYS do
  local todo = plan[k]
  local last = todo.last
  if todo.renew then
    redis.call('DEL', KEYS[k])
    redis.call('HDEL', KEYS[1], todo.topic .. '/kept')
  elseif todo.kept then
    redis.call('HSET', KEYS[1], todo.topic .. '/kept', todo.kept)
  end
  for n = 1, repeated and not todo.renew and 0 or todo.count do
    last = last + 1
    redis.call('XADD', KEYS[k], 'MAXLEN', '~', ARGV[2], '0-' .. last, 'e', ARGV[todo.at + n])
  end
  redis.call('HSET', KEYS[1], todo.topic, todo.epoch, todo.topic .. '/offset', last)
  reply[#reply + 1] = todo.epoch
  reply[#reply + 1] = last
end
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
return reply
"""
# KEYS: the hash, a stream per topic. ARGV: the limit; then per topic: name, the reader's epoch and offset. Replies per
# topic with epoch, newest and oldest offset, whether the position is of this epoch and not beyond the newest, the kept
# epochs if it is of another one, and {id, {'e', data}}, ... after the entries that the reader had.
# A stream without an epoch is deleted, or its offsets would be taken for those of the next epoch.
_READ: Final = """
local reply = {}
for k = 2, #KEYS do
  local at = 3 * k - 4
  local topic, epoch, offset = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local state = redis.call('HMGET', KEYS[1], topic, topic .. '/offset', topic .. '/kept')
  local last = tonumber(state[2] or 0)
  local oldest = redis.call('XRANGE', KEYS[k], '-', '+', 'COUNT', 1)[1]
  if not state[1] then
    redis.call('DEL', KEYS[k])
    last, oldest = 0, nil
  end
  local same = epoch == '' or epoch == state[1]
  local had = same and math.min(offset, last) or 0
  local kept = not same and state[1] and state[3] or ''
  for earlier, newest in string.gmatch(kept, '(%S+) (%d+)') do
    had = earlier == epoch and math.min(offset, tonumber(newest)) or had
  end
  reply[#reply + 1] = state[1] or ''
  reply[#reply + 1] = last
  reply[#reply + 1] = oldest and oldest[1] or ''
  reply[#reply + 1] = same and offset <= last and 1 or 0
  reply[#reply + 1] = kept
  reply[#reply + 1] = redis.call('XRANGE', KEYS[k], '0-' .. (had + 1), '+', 'COUNT', ARGV[1])
end
return reply
"""


class RedisEventLog:
    """The `EventLog` (see there for the methods) of ``bot``. ``blocking``: a second client, for blocking reads."""

    def __init__(self, redis: Redis, blocking: Redis, bot: str) -> None:
        self._redis = redis
        self._blocking = blocking
        self._prefix = f"botctl:{{{bot}}}:"
        self._state = f"{self._prefix}events"
        self._append = redis.register_script(_APPEND)
        self._read = redis.register_script(_READ)
        self._known: dict[str, Position] = {}  # the newest that this process has seen
        self._writer = event_id()
        self._numbers = itertools.count(1)

    async def append(self, topic: str, envelopes: Sequence[Envelope]) -> int:
        batch = Batch(self._writer, next(self._numbers), {topic: [encode(envelope) for envelope in envelopes]})
        return (await self.append_batch(batch))[topic]

    async def append_batch(self, batch: Batch) -> Mapping[str, int]:
        keys = [self._state, f"{self._prefix}ev-batch:{batch.writer}", *map(self._stream, batch.events)]
        arguments: list[Any] = [event_id(), KEPT, batch.number, _BATCH_NUMBER_TTL_S, _KEPT_EPOCHS]
        for topic, entries in batch.events.items():
            arguments += [topic, *self._known.get(topic, START), len(entries), *entries]
        with _reaching_redis:
            reply = await self._append(keys=keys, args=arguments)
        positions = [Position(epoch.decode(), last) for epoch, last in _split_into_tuples(reply, 2)]
        self._known.update(zip(batch.events, positions, strict=True))
        return {topic: position.offset for topic, position in zip(batch.events, positions, strict=True)}

    async def read(self, topic: str, after: Position = START, *, limit: int = 100, wait_s: float = 0) -> EventPage:
        return (await self.read_many({topic: after}, limit=limit, wait_s=wait_s))[topic]

    async def read_many(
        self, after: Mapping[str, Position], *, limit: int = 100, wait_s: float = 0
    ) -> Mapping[str, EventPage]:
        deadline = time.monotonic() + wait_s
        while True:
            pages = await self._read_pages(after, limit)
            left_s = deadline - time.monotonic()
            if left_s <= 0 or any(page.entries or not page.complete for page in pages.values()):
                return pages
            await self._wait({topic: page.position.offset for topic, page in pages.items()}, left_s)

    async def position(self, topic: str) -> Position:
        with _reaching_redis:
            return _to_position(*await self._redis.hmget(self._state, [topic, f"{topic}/offset"]))

    async def topics(self) -> Mapping[str, Position]:
        with _reaching_redis:
            state = cast(dict[bytes, bytes], await self._redis.hgetall(self._state))
        names = sorted(name.decode() for name in state if b"/" not in name)
        return {name: _to_position(state[name.encode()], state.get(f"{name}/offset".encode())) for name in names}

    async def trim(self, topic: str, *, keep: int) -> int:
        with _reaching_redis:
            return int(await self._redis.xtrim(self._stream(topic), maxlen=keep, approximate=True))

    def _stream(self, topic: str) -> str:
        return f"{self._prefix}ev:{topic}"

    async def _read_pages(self, after: Mapping[str, Position], limit: int) -> dict[str, EventPage]:
        arguments: list[Any] = [limit]
        for topic, position in after.items():
            arguments += [topic, *position]
        with _reaching_redis:
            reply = await self._read(keys=[self._state, *map(self._stream, after)], args=arguments)
        rows = zip(after.items(), _split_into_tuples(reply, 6), strict=True)
        return {topic: _to_page(position, row) for (topic, position), row in rows}

    async def _wait(self, offsets: Mapping[str, int], wait_s: float) -> None:
        """Wait until a topic has an entry after its offset, but at most ``wait_s`` or half the socket timeout."""
        timeout_s = self._blocking.connection_pool.connection_kwargs["socket_timeout"]
        block_ms = max(1, round(min(wait_s, timeout_s / 2) * 1000))
        streams = {self._stream(topic): f"0-{offset}" for topic, offset in offsets.items()}
        with _reaching_redis:
            await self._blocking.xread(streams, count=1, block=block_ms)  # type: ignore[arg-type]  # str works, too


@asynccontextmanager
async def event_log(redis: Redis, settings: Settings) -> AsyncIterator[EventLog]:
    async with dedicated_client(redis, connections=_BLOCKING_CONNECTIONS) as blocking:
        yield RedisEventLog(redis, blocking, settings.bot)


def _to_page(after: Position, row: tuple[Any, ...]) -> EventPage:
    """The page after the position ``after``, from the reply of `_READ` for one topic."""
    epoch, last, oldest, known, kept, stream_entries = row
    entries = tuple(Entry(_parse_offset(entry_id), fields[1]) for entry_id, fields in stream_entries)
    first = _parse_offset(oldest) if oldest else last + 1
    complete = bool(known) and after.offset >= first - 1
    reached = entries[-1].offset if entries else after.offset if complete else last
    position = Position(epoch.decode(), reached)
    return EventPage(entries, epoch.decode(), first, last, position, complete, _parse_kept(kept))


def _parse_offset(entry_id: bytes) -> int:
    """The offset in the stream id ``0-<offset>``."""
    return int(entry_id.partition(b"-")[2])


def _parse_kept(text: bytes) -> dict[str, int]:
    """The offsets by epoch in a field ``<topic>/kept``."""
    words = text.decode().split()
    return {epoch: int(offset) for epoch, offset in zip(words[::2], words[1::2], strict=True)}


def _to_position(epoch: Any, offset: Any) -> Position:
    return Position(epoch.decode(), int(offset or 0)) if epoch else START


def _split_into_tuples(flat: Sequence[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """The items of ``flat`` in tuples of ``size``."""
    return zip(*(flat[n::size] for n in range(size)), strict=True)

"""A server of bench/fanout.py: ``fanout_server.py KIND [PROJECT]``.

Its first line on stdout is ``{"url", "key"}``. Then it reads JSON lines ``{"ticks", "per_tick", "message"}`` from
stdin, sends ``per_tick`` messages to all clients in each of so many turns of the loop, and answers with the CPU seconds
that the process has used. The kinds:

- ``broadcast``: `websockets.broadcast`.
- ``hub``: the realtime server as `botctl run --only realtime` has it, with its sessions and keys; the event log is in
  memory, so that nothing else is measured.
- ``valkey``: the same, with the events in the embedded Valkey.
- ``push``: the same frames to the same sockets without the hub: no log, no positions.
- ``write``: the same frames straight to the transports: no protection against slow clients either.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import uvloop
from websockets.asyncio.server import broadcast, serve

from botctl.core.config.loading import load
from botctl.core.contracts.api_keys import ApiKeys
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.event_log import START, Entry, EventLog, EventPage, Position
from botctl.realtime.protocol import encode_events
from botctl.realtime.server import RealtimeServer
from botctl.realtime.socket import chunks, text_frame
from botctl.run.roles import ProcessRole, build_run_registry

TOPIC = "bench"
Send = Callable[[bytes, int], Awaitable[None]]
"""Send a message so many times in one turn of the loop; returns when it is on its way."""


class MemoryLog:
    """An event log in memory with one epoch. `read_many` is all that the hub calls while clients are subscribed."""

    def __init__(self) -> None:
        self.entries: dict[str, list[Entry]] = {}
        self._appended, self._all_read = asyncio.Event(), asyncio.Event()

    async def publish(self, message: bytes, count: int) -> None:
        """Append ``count`` entries at once, and wait until the reader comes for the next."""
        entries = self.entries.setdefault(TOPIC, [])
        entries.extend(Entry(len(entries) + 1 + n, message) for n in range(count))
        self._all_read.clear()
        self._appended.set()
        await self._all_read.wait()

    async def position(self, topic: str) -> Position:
        return Position("e", len(self.entries.get(topic, ())))

    async def read(self, topic: str, after: Position = START, *, limit: int = 100, wait_s: float = 0) -> EventPage:
        return (await self.read_many({topic: after}, limit=limit, wait_s=wait_s))[topic]

    async def read_many(
        self, after: Mapping[str, Position], *, limit: int = 100, wait_s: float = 0
    ) -> Mapping[str, EventPage]:
        pages = self._pages(after, limit)
        if wait_s and not any(page.entries for page in pages.values()):
            if TOPIC in after:
                self._all_read.set()
            self._appended.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._appended.wait()
            except TimeoutError:
                return pages
            pages = self._pages(after, limit)
        return pages

    def _pages(self, after: Mapping[str, Position], limit: int) -> dict[str, EventPage]:
        return {topic: self._page(topic, position.offset, limit) for topic, position in after.items()}

    def _page(self, topic: str, offset: int, limit: int) -> EventPage:
        entries = self.entries.get(topic, [])
        page = tuple(entries[offset : offset + limit])
        return EventPage(page, "e", 1, len(entries), Position("e", offset + len(page)))

    async def topics(self) -> Mapping[str, Position]:
        return {topic: await self.position(topic) for topic in self.entries}

    async def append_batch(self, batch: Any) -> Mapping[str, int]:
        """Drop what the bot itself publishes."""
        return dict.fromkeys(batch.events, 1)

    append: Any = None
    trim: Any = None


async def _serve_commands(url: str, key: str, send: Send) -> None:
    print(json.dumps({"url": url, "key": key}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        for _ in range(command["ticks"]):
            await send(command["message"].encode(), command["per_tick"])
        print(json.dumps({"cpu_s": time.process_time()}), flush=True)


async def serve_broadcast() -> None:
    """Run a plain server of `websockets`."""

    async def handle(connection: Any) -> None:
        await connection.wait_closed()

    async with serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None) as server:

        async def send(message: bytes, count: int) -> None:
            text = message.decode()
            for _ in range(count):
                broadcast(server.connections, text)
            await asyncio.sleep(0)

        await _serve_commands(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", "", send)


async def serve_botctl(kind: str, root: Path) -> None:
    """Run the realtime server of the project at ``root``, whose stores run already."""
    registry, service_types = build_run_registry(load(root, None, os.environ, {}), {ProcessRole.REALTIME}, bus=Bus())
    memory = MemoryLog()
    if kind != "valkey":
        registry.value(EventLog, memory, replace=True)
    async with registry.open(*service_types) as running:
        server = running.get(RealtimeServer)
        key = (await running.get(ApiKeys).create("bench"))[1]
        send = _direct(server, kind) if kind in ("push", "write") else memory.publish
        if kind == "valkey":
            send = _through(running.get(EventLog), server)
        await _serve_commands(server.url, key, send)


def _through(log: EventLog, server: RealtimeServer) -> Send:
    """Append to ``log``, and wait until the hub has read it."""

    async def send(message: bytes, count: int) -> None:
        before = server.hub.counts.events
        await log.append(TOPIC, [json.loads(message)] * count)
        while server.hub.counts.events < before + count:  # noqa: ASYNC110  it tells no one
            await asyncio.sleep(0.0005)

    return send


def _direct(server: RealtimeServer, kind: str) -> Send:
    """Send the hub's frames without the hub."""

    async def send(message: bytes, count: int) -> None:
        frames = map(text_frame, encode_events(TOPIC, "e", [Entry(n, message) for n in range(1, count + 1)]))
        for chunk in chunks(frames):
            for client in server.connections.clients:
                if kind == "push":
                    client.push(chunk)
                else:
                    client.transport.write(chunk)
        await asyncio.sleep(0)

    return send


async def main() -> None:
    kind = sys.argv[1]
    await (serve_broadcast() if kind == "broadcast" else serve_botctl(kind, Path(sys.argv[2])))


if __name__ == "__main__":
    gc.set_threshold(20_000, 50, 100)  # as `botctl run`
    uvloop.run(main())

"""The realtime server in the test's own process, on real sockets and a real Redis; and clients of it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from botctl.auth.api_keys import api_keys
from botctl.core.clock import Clock, SystemClock
from botctl.core.config.settings import RealtimeSettings, Settings
from botctl.core.contracts.api_keys import ApiKeys
from botctl.core.contracts.audit_entry import AuditEntry
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.event_log import EventLog
from botctl.core.contracts.events import DrainStarted
from botctl.core.contracts.protocols import Auditor
from botctl.core.processes.runtime import Runtime
from botctl.core.services.registry import Registry, RunningServices
from botctl.core.telemetry.metrics import Metrics, process_metrics
from botctl.events.log import event_log
from botctl.events.relay import Relay, relay
from botctl.ratelimit.limiter import rate_limiter
from botctl.realtime.server import Realtime, realtime_server
from botctl.stores.mongo import Database
from tests.support.mongo_memory import MemoryDatabase
from tests.support.waiting import until

TOPIC = DrainStarted.topic


class Auditing:
    """An auditor that keeps what it is given."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    def record(self, entry: AuditEntry) -> None:
        self.entries.append(entry)


@dataclass
class Rig:
    """A server that runs, and the process around it."""

    server: Realtime
    running: RunningServices
    bus: Bus
    log: EventLog
    keys: ApiKeys
    metrics: Metrics
    auditor: Auditing
    said: int = 0

    @property
    def http(self) -> str:
        """Where its pages are."""
        return self.server.url.replace("ws://", "http://").removesuffix("/realtime")

    def say(self, count: int = 1, *, padding: str = "") -> None:
        """Publish ``count`` numbered events."""
        for _ in range(count):
            self.said += 1
            self.bus.publish(DrainStarted(reason=padding, in_flight=self.said, limit_s=0))

    async def settled(self) -> None:
        """Wait until all that was said is in the log."""
        line = self.running.get(Relay)
        await until(lambda: line.behind == 0, what="the relay")

    async def key(self, *topics: str) -> str:
        """The text of a new key."""
        return (await self.keys.create("test", topics=topics or ("*",)))[1]


@asynccontextmanager
async def serving(redis: Redis, root: Path, *, database: Any = None, **options: Any) -> AsyncIterator[Rig]:
    """A server with ``options`` of ``[realtime]``; keys are in memory unless there is a ``database``."""
    bus, auditor = Bus(), Auditing()
    registry = Registry(publish=bus.publish)
    given: dict[Any, Any] = {
        Settings: Settings(realtime=RealtimeSettings(**({"drain_s": 0.5} | options))),
        Redis: redis,
        Database: database or MemoryDatabase(),
        Bus: bus,
        Clock: SystemClock(),
        Runtime: Runtime(root, long_lived=True),
        Auditor: auditor,
    }
    for key, value in given.items():
        registry.value(key, value)
    for factory in (event_log, relay, rate_limiter, api_keys, process_metrics):
        registry.add(factory)
    registry.add(realtime_server, name="realtime", depends_on=[Relay], ping=Realtime.ping)
    async with registry.open() as running:
        get = running.get
        yield Rig(get(Realtime), running, bus, get(EventLog), get(ApiKeys), get(Metrics), auditor)


@dataclass
class Client:
    """A client that reads all the time, unless it was told to `stall`."""

    connection: ClientConnection
    hello: dict[str, Any] = field(default_factory=dict)
    heard: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0

    async def call(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send a request and wait for its reply."""
        self.requests += 1
        mine = self.requests
        await self.connection.send(json.dumps({"type": kind, "id": mine} | fields))
        await until(lambda: self.reply(mine) is not None or self.code is not None, what=f"a reply to {kind}")
        return self.reply(mine) or {}

    def reply(self, request_id: int) -> dict[str, Any] | None:
        return next((each for each in self.heard if each.get("id") == request_id), None)

    @property
    def code(self) -> int | None:
        """The code that the connection was closed with."""
        return self.connection.close_code

    async def ended(self) -> int | None:
        """Wait for the end; returns its code."""
        await until(lambda: self.code is not None, what="the end of the connection")
        return self.code

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.heard if each["type"] == kind]

    @property
    def offsets(self) -> list[int]:
        return [each["offset"] for each in self.of("event")]

    @property
    def numbers(self) -> list[int]:
        """The numbers of the events of `Rig.say`."""
        return [each["event"]["data"]["in_flight"] for each in self.of("event")]

    async def seen(self, count: int) -> None:
        """Wait until ``count`` events have come."""
        await until(lambda: len(self.of("event")) >= count, what=f"{count} events (there are {len(self.of('event'))})")

    @property
    def position(self) -> dict[str, dict[str, Any]]:
        """Where it is, as it says when it comes back."""
        last = self.of("event")[-1]
        return {last["topic"]: {"epoch": last["epoch"], "offset": last["offset"]}}

    async def read(self) -> None:
        """Hear everything, until the connection ends."""
        try:
            async for text in self.connection:
                self.heard.append(json.loads(text))
        except ConnectionClosed:
            pass


@asynccontextmanager
async def client(url: str, key: str | None = None, *topics: str, after: Any = None) -> AsyncIterator[Client]:
    """A client; with a key it is authenticated, with topics subscribed."""
    async with connect(url, compression=None, ping_interval=None, close_timeout=1) as connection:
        one = Client(connection)
        reading = asyncio.create_task(one.read())
        try:
            await until(lambda: bool(one.heard), what="hello")
            one.hello = one.heard.pop(0)
            if key is not None:
                assert (await one.call("auth", key=key))["type"] == "auth"
            if topics:
                fields = {"after": after} if after else {}
                assert (await one.call("subscribe", topics=list(topics), **fields))["type"] == "subscribe"
            yield one
        finally:
            connection.transport.abort()
            await reading


class Stalled:
    """A client that has subscribed, and reads nothing any more: a plain socket, so that nothing reads in secret."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    @classmethod
    async def open(cls, url: str, key: str, topics: Iterable[str] = (TOPIC,)) -> Self:
        host, port = url.removeprefix("ws://").removesuffix("/realtime").split(":")
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, (host, int(port)))
        lines = (
            f"GET /realtime HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await loop.sock_sendall(sock, lines.encode())
        await cls._until(sock, b'"hello"')
        await loop.sock_sendall(sock, masked(json.dumps({"type": "auth", "key": key}).encode()))
        await cls._until(sock, b'"type":"auth"')
        await loop.sock_sendall(sock, masked(json.dumps({"type": "subscribe", "topics": list(topics)}).encode()))
        await cls._until(sock, b'"type":"subscribe"')
        return cls(sock)

    @staticmethod
    async def _until(sock: socket.socket, what: bytes) -> None:
        said = b""
        async with asyncio.timeout(10):
            while what not in said:
                said += await asyncio.get_running_loop().sock_recv(sock, 4096)

    async def send(self, data: bytes) -> None:
        """Send raw bytes."""
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    def close(self) -> None:
        self.sock.close()


def masked(data: bytes, opcode: int = 1) -> bytes:
    """A frame as clients send it, masked with zeros. RFC 6455, section 5.2."""
    assert len(data) < 65_536
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + data

"""The realtime server in the test's own process, on real sockets and a real Redis; and clients of it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from botctl.auth.access_control import access_control
from botctl.auth.api_keys import api_keys
from botctl.auth.grants import role_grants
from botctl.auth.one_time import one_time_tokens
from botctl.auth.sessions import sessions
from botctl.auth.signing import document_signer
from botctl.core.clock import Clock, SystemClock
from botctl.core.config.settings import RealtimeSettings, RoleSettings, Settings
from botctl.core.contracts.access import AccessControl
from botctl.core.contracts.api_keys import ApiKeys
from botctl.core.contracts.audit_entry import AuditEntry
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.event_log import EventLog
from botctl.core.contracts.events import DrainStarted
from botctl.core.contracts.health import HealthSource
from botctl.core.contracts.lease import LeaseHolder, Leases
from botctl.core.contracts.protocols import Auditor
from botctl.core.processes.runtime import Runtime
from botctl.core.services.registry import Registry, RunningServices
from botctl.core.telemetry.metrics import Metrics, process_metrics
from botctl.events.log import event_log
from botctl.events.relay import Relay, relay
from botctl.guilds.store import guild_settings_store
from botctl.jobs.store import job_store
from botctl.ratelimit.limiter import rate_limiter
from botctl.realtime.server import RealtimeServer, realtime_server
from botctl.run.realtime import action_controls, state_sources
from botctl.stores.mongo import Database
from tests.support.health import FakeHealth
from tests.support.mongo_memory import MemoryDatabase
from tests.support.waiting import LIMIT_S, expires, until

TOPIC = DrainStarted.topic


class RecordingAuditor:
    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    def record(self, entry: AuditEntry) -> None:
        self.entries.append(entry)


@dataclass
class KnownHolder:
    """The leases, of which the test says who holds them: MongoDB in memory has none."""

    held_by: LeaseHolder | None = None

    async def holder(self, _name: str) -> LeaseHolder | None:
        return self.held_by


@dataclass
class Rig:
    """A running server with its services."""

    server: RealtimeServer
    running: RunningServices
    bus: Bus
    log: EventLog
    keys: ApiKeys
    metrics: Metrics
    auditor: RecordingAuditor
    clock: Clock
    access: AccessControl
    leases: KnownHolder
    published: int = 0

    @property
    def http(self) -> str:
        """The base URL of the HTTP pages."""
        return self.server.url.replace("ws://", "http://").removesuffix("/realtime")

    def publish(self, count: int = 1, *, padding: str = "", guild: str | None = None) -> None:
        """Publish ``count`` numbered events, which are of ``guild``."""
        for _ in range(count):
            self.published += 1
            self.bus.publish(DrainStarted(reason=padding, in_flight=self.published, limit_s=0, guild=guild))

    async def wait_for_relay(self) -> None:
        """Wait until all published events are in the log."""
        relay = self.running.get(Relay)
        await until(lambda: relay.backlog == 0, what="the relay")

    async def key(self, *topics: str) -> str:
        """Create a key and return its text."""
        return (await self.keys.create("test", permissions=[f"events:{topic}" for topic in topics or ("*",)]))[1]


@asynccontextmanager
async def serving(
    redis: Redis, root: Path, *, database: Any = None, roles: Mapping[str, RoleSettings] | None = None, **options: Any
) -> AsyncIterator[Rig]:
    """A server with ``options`` of ``[realtime]``; keys are in memory unless there is a ``database``."""
    bus, auditor, leases = Bus(), RecordingAuditor(), KnownHolder()
    registry = Registry(publish=bus.publish)
    values: dict[Any, Any] = {
        Settings: Settings(realtime=RealtimeSettings(**({"drain_s": 0.5} | options)), roles=dict(roles or {})),
        Redis: redis,
        Database: MemoryDatabase() if database is None else database,
        Bus: bus,
        Clock: SystemClock(),
        Runtime: Runtime(root, long_lived=True),
        Auditor: auditor,
        Leases: leases,
        HealthSource: FakeHealth(),
    }
    for key, value in values.items():
        registry.value(key, value)
    for factory in (
        event_log,
        relay,
        rate_limiter,
        document_signer,
        api_keys,
        role_grants,
        access_control,
        process_metrics,
        job_store,
        guild_settings_store,
        action_controls,
        state_sources,
        one_time_tokens,
        sessions,
    ):
        registry.add(factory)
    registry.add(realtime_server, name="realtime", depends_on=[Relay], ping=RealtimeServer.ping)
    async with registry.open() as running:
        get = running.get
        services = get(RealtimeServer), running, bus, get(EventLog), get(ApiKeys), get(Metrics)
        yield Rig(*services, auditor, values[Clock], get(AccessControl), leases)


@dataclass
class Client:
    """A client that reads all the time."""

    connection: ClientConnection
    hello: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0

    async def request(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send a request and wait for its reply."""
        self.requests += 1
        request_id = self.requests
        await self.connection.send(json.dumps({"type": kind, "id": request_id} | fields))
        await until(lambda: self.reply(request_id) is not None or self.code is not None, what=f"a reply to {kind}")
        return self.reply(request_id) or {}

    def reply(self, request_id: int) -> dict[str, Any] | None:
        return next((message for message in self.messages if message.get("id") == request_id), None)

    @property
    def code(self) -> int | None:
        """The close code of the connection."""
        return self.connection.close_code

    async def wait_closed(self) -> int | None:
        """Wait until the connection is closed; return the close code."""
        await until(lambda: self.code is not None, what="the end of the connection")
        return self.code

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]

    @property
    def offsets(self) -> list[int]:
        return [message["offset"] for message in self.of_type("event")]

    @property
    def numbers(self) -> list[int]:
        """The numbers of the events of `Rig.publish`."""
        return [message["event"]["data"]["in_flight"] for message in self.of_type("event")]

    async def wait_for_events(self, count: int) -> None:
        """Wait until ``count`` events have arrived."""
        await until(
            lambda: len(self.of_type("event")) >= count, what=f"{count} events (there are {len(self.of_type('event'))})"
        )

    @property
    def position(self) -> dict[str, dict[str, Any]]:
        """The position to send when the client reconnects."""
        last = self.of_type("event")[-1]
        return {last["topic"]: {"epoch": last["epoch"], "offset": last["offset"]}}

    async def read(self) -> None:
        """Read until the connection is closed."""
        try:
            async for text in self.connection:
                self.messages.append(json.loads(text))
        except ConnectionClosed:
            pass


@asynccontextmanager
async def open_client(url: str, key: str | None = None, *topics: str, after: Any = None) -> AsyncIterator[Client]:
    """Connect; with ``key`` authenticate, with ``topics`` subscribe."""
    async with connect(url, compression=None, ping_interval=None, close_timeout=expires(1)) as connection:
        client = Client(connection)
        reading = asyncio.create_task(client.read())
        try:
            await until(lambda: bool(client.messages), what="hello")
            client.hello = client.messages.pop(0)
            if key is not None:
                assert (await client.request("auth", key=key))["type"] == "auth"
            if topics:
                fields = {"after": after} if after else {}
                assert (await client.request("subscribe", topics=list(topics), **fields))["type"] == "subscribe"
            yield client
        finally:
            connection.transport.abort()
            await reading


class Stalled:
    """A client that subscribes and then stops reading: a plain socket, so that no library reads in the background."""

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
        reply_ = b""
        async with asyncio.timeout(LIMIT_S):
            while what not in reply_:
                reply_ += await asyncio.get_running_loop().sock_recv(sock, 4096)

    async def send(self, data: bytes) -> None:
        """Send raw bytes."""
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    def close(self) -> None:
        self.sock.close()


def masked(data: bytes, opcode: int = 1) -> bytes:
    """Return a client's frame, masked with zeros. RFC 6455, section 5.2."""
    assert len(data) < 65_536
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + data

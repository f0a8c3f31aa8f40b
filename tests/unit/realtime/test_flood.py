"""Work that a peer can cause: frames are counted, not time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import CONNECTING, OPEN, State
from websockets.server import ServerProtocol

from botctl.core.contracts.throttle import API_SCOPES, parse
from botctl.realtime.admission import ConnectionLimits, SocketAdmission
from botctl.realtime.budgets import BEFORE_KEY, Refill, limits_with_key
from botctl.realtime.protocol import CloseReason
from botctl.realtime.socket import Socket, SocketLimits
from tests.support.realtime import masked

WITH_KEY = limits_with_key(parse("20/1s burst 100 per key", scopes=API_SCOPES), 16_384)
FRAMES_BEFORE_KEY = 32
READ_BYTES = 262_144  # what asyncio reads at once
EMPTY_PONG = b"\x8a\x80\0\0\0\0"
FLOODS = {
    "empty pongs": EMPTY_PONG,
    "pings": masked(b"x" * 10, opcode=9),
    "small texts": masked(b"x"),
    "unsent continuations": b"\x00\x80\0\0\0\0",
    "mixed": EMPTY_PONG + masked(b"{}") + masked(b"", opcode=9),
}


class Observer:
    """A registry with the budgets of the real one."""

    def __init__(self, clock: Mock) -> None:
        self.socket_limits = SocketLimits(queue_bytes=65_536, grace_s=1)
        limits = ConnectionLimits(100, 100, 100)
        self.admission = SocketAdmission(
            limits, Refill(100, 100), WITH_KEY, proxies=(), time_s=clock, with_key=lambda: 0
        )

    def work_budget(self, client: Socket) -> Any:
        return self.admission.budget(client.address, has_key=client.health.authenticated)

    def on_open(self, client: Socket) -> bool:
        return True

    def on_close(self, client: Socket) -> None:
        pass


class Peer:
    """A socket of the server, and what has become of it."""

    def __init__(self, observer: Observer, state: State = OPEN, address: str = "192.0.2.1") -> None:
        async def handle(_: object) -> None:
            pass

        self.transport = Mock()
        self.transport.get_extra_info = lambda name: (address, 1) if name == "peername" else Mock()
        self.transport.get_write_buffer_size.return_value = 0
        server: Any = SimpleNamespace(handler=handle, handler_tasks=set())
        self.socket = Socket(
            ServerProtocol(state=state, max_size=16_384), server, observer=observer, max_queue=None, ping_interval=None
        )
        self.socket.connection_made(self.transport)
        if state is OPEN:
            self.socket.request = Mock()  # the handshake is done

    @property
    def sent(self) -> bytes:
        return b"".join(call.args[0] for call in self.transport.write.call_args_list)

    @property
    def was_flood(self) -> bool:
        """Whether it was closed as one that floods: told so if it can be, not read any more, and aborted later."""
        assert (self.socket.disconnect_reason is CloseReason.FLOOD) == self.transport.pause_reading.called
        return self.socket.disconnect_reason is CloseReason.FLOOD and self.socket._abort_timer is not None


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Frame]]:
    """The frames that websockets has parsed."""
    frames: list[Frame] = []
    real = Frame.parse.__func__  # type: ignore[attr-defined]

    def parse_frame(cls: type[Frame], *args: Any, **kwargs: Any) -> Any:
        frame = yield from real(cls, *args, **kwargs)
        frames.append(frame)
        return frame

    monkeypatch.setattr(Frame, "parse", classmethod(parse_frame))
    return frames


@pytest.fixture
async def observer() -> Observer:
    asyncio.get_running_loop()
    return Observer(Mock(return_value=0.0))


@pytest.mark.parametrize("flood", FLOODS)
async def test_flood_without_a_key_costs_a_few_frames(observer: Observer, parsed: list[Frame], flood: str) -> None:
    peer = Peer(observer)
    data = FLOODS[flood] * (20_000 // len(FLOODS[flood]))
    for _ in range(1000):
        peer.socket.data_received(data)
    assert len(parsed) <= FRAMES_BEFORE_KEY + 1
    assert peer.sent.count(b"\x8a\x0a") <= FRAMES_BEFORE_KEY  # pongs
    if flood != "unsent continuations":  # a violation of the protocol ends that at once
        assert peer.was_flood
        assert int(CloseReason.FLOOD).to_bytes(2, "big") in peer.sent


async def test_whole_read_of_tiny_frames_is_not_parsed(observer: Observer, parsed: list[Frame]) -> None:
    peer = Peer(observer)
    peer.socket.data_received(EMPTY_PONG * (READ_BYTES // len(EMPTY_PONG)))
    assert parsed == []
    assert peer.was_flood


@pytest.mark.parametrize("flood", ["empty pongs", "pings", "mixed"])
async def test_flood_with_a_key_costs_no_more_than_its_burst(
    observer: Observer, parsed: list[Frame], flood: str
) -> None:
    peer = Peer(observer)
    peer.socket.mark_authenticated()
    data = FLOODS[flood] * (READ_BYTES // len(FLOODS[flood]))
    for _ in range(100):
        peer.socket.data_received(data)
    assert len(parsed) <= WITH_KEY.own.burst + 1
    assert peer.was_flood


async def test_fragments_of_one_message_are_counted(observer: Observer, parsed: list[Frame]) -> None:
    peer = Peer(observer)
    peer.socket.data_received(b"\x01\x80\0\0\0\0" + b"\x00\x80\0\0\0\0" * 2000)
    assert len(parsed) == FRAMES_BEFORE_KEY - 5  # the bytes count too
    assert peer.was_flood


async def test_dribbled_bytes_are_counted(observer: Observer, parsed: list[Frame]) -> None:
    peer = Peer(observer)
    for _ in range(500):
        peer.socket.data_received(b"\x8a")
    assert peer.was_flood
    assert peer.socket.protocol.reader.buffer == b""


async def test_unfinished_large_messages_are_counted(observer: Observer) -> None:
    peer = Peer(observer)
    peer.socket.data_received(b"\x01\xfe\x3f\x00\0\0\0\0")
    for _ in range(100):
        peer.socket.data_received(b"x" * 1000)
    assert peer.was_flood


async def test_dribbled_http_request_is_aborted(observer: Observer) -> None:
    peer = Peer(observer, CONNECTING)
    peer.socket.data_received(b"GET /realtime HTTP/1.1\r\n")
    for number in range(1000):
        peer.socket.data_received(b"X-%d: %b\r\n" % (number, b"x" * 20))
    assert peer.transport.abort.called
    assert peer.was_flood
    assert peer.socket.protocol.reader.buffer == b""


async def test_frames_before_the_handshake_are_counted(observer: Observer, parsed: list[Frame]) -> None:
    request = b"GET /realtime HTTP/1.1\r\nHost: x\r\n\r\n"
    peer = Peer(observer, CONNECTING)
    peer.socket.data_received(request + EMPTY_PONG * 2000)
    assert len(parsed) <= FRAMES_BEFORE_KEY
    assert peer.transport.abort.called


async def test_connections_of_one_address_share_a_budget(observer: Observer, parsed: list[Frame]) -> None:
    shared = BEFORE_KEY.shared.burst
    connections = 130
    for host in range(connections):
        Peer(observer, address=f"2001:db8::{host:x}").socket.data_received(EMPTY_PONG * 20)
    assert len(parsed) <= shared + connections * (BEFORE_KEY.reserved.burst + 1)
    before = len(parsed)
    Peer(observer, address="2001:db8:1::1").socket.data_received(EMPTY_PONG * 20)
    assert len(parsed) == before + 20


async def test_quiet_client_beside_a_flood_stays(observer: Observer) -> None:
    quiet = Peer(observer)
    quiet.socket.mark_authenticated()
    for _ in range(20):
        flood = Peer(observer)
        flood.socket.mark_authenticated()
        flood.socket.data_received(EMPTY_PONG * 3000)
    for _ in range(40):  # answers to pings, 17 minutes of them
        quiet.socket.data_received(EMPTY_PONG)
    assert quiet.socket.is_open


async def test_ordinary_client_is_not_over_budget(observer: Observer) -> None:
    peer = Peer(observer)
    peer.socket.data_received(masked(json.dumps({"type": "auth", "key": "x" * 60}).encode()))
    peer.socket.data_received(masked(json.dumps({"type": "subscribe", "topics": ["a" * 30] * 50}).encode()))
    assert peer.socket.is_open
    peer.socket.mark_authenticated()
    for _ in range(100):
        peer.socket.data_received(masked(b"x" * 16_000))
    assert peer.socket.is_open
    assert Opcode.CLOSE not in peer.sent[:1]

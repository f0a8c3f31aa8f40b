"""Sockets are admitted before anything is made for them, on both event loops: `botctl run` has uvloop."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop

from botctl.realtime.listener import GatedServer, Handshake, bound_sockets
from tests.support.certificates import HOST, make_certificate
from tests.support.waiting import LIMIT_S, until

NO_TLS = Handshake(None, 1.0, 1.0)
Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


class Gate:
    """Admits ``room`` sockets at a time."""

    def __init__(self, room: int) -> None:
        self.room, self.open, self.refused = room, 0, 0

    def accept(self, peer: str) -> bool:
        assert peer == HOST
        if self.open >= self.room:
            self.refused += 1
            return False
        self.open += 1
        return True

    def release(self, peer: str) -> None:
        assert peer == HOST
        self.open -= 1


class Connection(asyncio.Protocol):
    """Says hello."""

    made = 0

    def connection_made(self, transport: Any) -> None:
        Connection.made += 1
        transport.write(b"hello")


@pytest.fixture(autouse=True)
def _none_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "made", 0)


@asynccontextmanager
async def listening(gate: Gate, tls: Handshake = NO_TLS) -> AsyncIterator[tuple[str, int]]:
    (sock,) = await bound_sockets(HOST, 0)
    address = sock.getsockname()
    server = GatedServer(sock, gate, Connection, tls)
    assert server.is_serving()
    try:
        yield address
    finally:
        server.close()
        async with asyncio.timeout(LIMIT_S):
            await server.wait_closed()
        assert not server.is_serving()


async def answer(address: tuple[str, int], **options: Any) -> tuple[bytes, asyncio.StreamWriter]:
    """What the server says first; nothing if it closes the connection."""
    reader, writer = await asyncio.open_connection(*address, **options)
    async with asyncio.timeout(LIMIT_S):
        with suppress(ConnectionError):
            return await reader.read(5), writer
    return b"", writer


def test_refused_socket_is_closed_and_nothing_is_made_for_it(run: Run) -> None:
    async def main() -> None:
        gate = Gate(2)
        async with listening(gate) as address:
            answers = [await answer(address) for _ in range(5)]
            assert [said for said, _ in answers] == [b"hello", b"hello", b"", b"", b""]
            assert (gate.open, gate.refused, Connection.made) == (2, 3, 2)
            for _, writer in answers:
                writer.close()
            await until(lambda: gate.open == 0, what="the end of the sockets")
            said, writer = await answer(address)
            assert said == b"hello"
            writer.close()

    run(main())


def test_socket_that_does_not_begin_its_handshake_counts_and_is_closed(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        gate, context = Gate(1), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        cert, key = make_certificate(tmp_path)
        context.load_cert_chain(cert, key)
        async with listening(gate, Handshake(context, begin_s=0.5, end_s=1.0)) as address:
            silent = socket.create_connection(address)
            await until(lambda: gate.open == 1, what="the socket")
            await until(lambda: gate.open == 0, what="the end of its time")
            silent.close()
        async with listening(gate, Handshake(context, begin_s=LIMIT_S, end_s=1.0)) as address:
            said, writer = await answer(address, ssl=ssl.create_default_context(cafile=cert))
            assert (said, Connection.made, gate.open) == (b"hello", 1, 1)
            refused, other = await answer(address)
            assert refused == b""
            for each in (writer, other):
                each.close()
            await until(lambda: gate.open == 0, what="the end of the sockets")

    run(main())


def test_handshakes_under_way_end_with_the_server(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        gate, context = Gate(1), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*make_certificate(tmp_path))
        async with listening(gate, Handshake(context, begin_s=LIMIT_S, end_s=1.0)) as address:
            silent = socket.create_connection(address)
            await until(lambda: gate.open == 1, what="the socket")
        await until(lambda: gate.open == 0, what="its end")
        silent.close()
        with pytest.raises(OSError):
            socket.create_connection(address)

    run(main())

"""TLS handshakes of the web server: counted, bounded in time, and nothing that a client sends with them is lost."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import uvloop
from aiohttp import web

from botctl.web import connections as connections_module
from botctl.web import handshakes as handshakes_module
from botctl.web.connections import WebConnections, listening
from tests.support.certificates import HOST, make_certificate
from tests.support.waiting import expires, until

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """`botctl run` has uvloop; tests of the whole server have asyncio's loop."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


async def _hello(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text=f"{request.scheme} {request.remote}")


class Rig:
    """A web server with TLS on a free port."""

    def __init__(self, folder: Path) -> None:
        self.cert, key = make_certificate(folder)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.cert, key)
        self.sock = socket.create_server((HOST, 0))
        self.server = web.Server(_hello)
        self.connections = WebConnections(self.server, set(), self.context)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        async with listening(self.connections, self.sock):
            yield
        await self.server.shutdown(0)

    @property
    def shaking_hands(self) -> int:
        assert self.connections.handshakes is not None
        return len(self.connections.handshakes)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that does not begin the handshake."""
        return await asyncio.open_connection(*self.sock.getsockname())

    async def get(self) -> bytes:
        trusting = ssl.create_default_context(cafile=self.cert)
        reader, writer = await asyncio.open_connection(*self.sock.getsockname(), ssl=trusting)
        writer.write(REQUEST)
        answer = await reader.read()
        writer.close()
        return answer


def test_request_is_answered_over_tls(tmp_path: Path, runner: asyncio.Runner) -> None:
    async def run() -> None:
        rig = Rig(tmp_path)
        async with rig.listening():
            answers = await asyncio.gather(*(rig.get() for _ in range(10)))
            assert all(answer.endswith(f"https {HOST}".encode()) for answer in answers)
            await until(lambda: not rig.server.connections, what="the end of the connections")
            assert rig.shaking_hands == 0

    runner.run(run())


def test_request_that_comes_with_the_end_of_the_handshake_is_answered(tmp_path: Path, runner: asyncio.Runner) -> None:
    """As one piece, with the client's last message of the handshake."""

    async def run() -> None:
        rig = Rig(tmp_path)
        received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        trusting = ssl.create_default_context(cafile=rig.cert)
        client = trusting.wrap_bio(received, to_send, server_hostname=HOST)
        async with rig.listening():
            reader, writer = await rig.connect()
            while True:
                try:
                    client.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    writer.write(to_send.read())
                    received.write(await reader.read(65_536))
            client.write(REQUEST)
            writer.write(to_send.read())
            answer = b""
            while not answer.endswith(f"https {HOST}".encode()):
                data = await reader.read(65_536)
                assert data
                received.write(data)
                with suppress(ssl.SSLWantReadError):
                    answer += client.read(65_536)
            writer.close()
            await until(lambda: not rig.server.connections, what="the end of the connection")

    runner.run(run())


def test_handshake_that_does_not_come_ends(
    tmp_path: Path, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes_module, "HANDSHAKE_S", expires(0.05))

    async def run() -> None:
        rig = Rig(tmp_path)
        async with rig.listening():
            reader, writer = await rig.connect()
            assert await reader.read() == b""
            await until(lambda: rig.shaking_hands == 0, what="the end of the handshake")
            writer.close()

    runner.run(run())


def test_handshakes_count_as_connections(
    tmp_path: Path, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections_module, "MAX_CONNECTIONS", 2)

    async def run() -> None:
        rig = Rig(tmp_path)
        async with rig.listening():
            silent = [await rig.connect() for _ in range(2)]
            await until(lambda: rig.shaking_hands == 2, what="two handshakes")
            reader, writer = await rig.connect()
            assert await reader.read() == b""
            for _, each in (*silent, (reader, writer)):
                each.close()
            await until(lambda: rig.shaking_hands == 0, what="the end of the handshakes")
            assert (await rig.get()).endswith(f"https {HOST}".encode())

    runner.run(run())


def test_other_bytes_than_tls_end_the_connection(tmp_path: Path, runner: asyncio.Runner) -> None:
    async def run() -> None:
        rig = Rig(tmp_path)
        async with rig.listening():
            reader, writer = await rig.connect()
            writer.write(REQUEST)
            await reader.read()
            await until(lambda: rig.shaking_hands == 0, what="the end of the handshake")
            assert not rig.server.connections
            writer.close()

    runner.run(run())


def test_server_that_ends_closes_handshakes(tmp_path: Path, runner: asyncio.Runner) -> None:
    async def run() -> None:
        rig = Rig(tmp_path)
        async with rig.listening():
            reader, writer = await rig.connect()
            await until(lambda: rig.shaking_hands == 1, what="the handshake")
        assert await reader.read() == b""
        await until(lambda: rig.shaking_hands == 0, what="the end of the handshake")
        writer.close()

    runner.run(run())

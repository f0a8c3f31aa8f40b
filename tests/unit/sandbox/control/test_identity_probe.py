"""The sandbox is known by what it can prove; who else listens on its port is not taken for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from botctl.core.errors import ExitCode, Held
from botctl.core.processes.runtime import Runtime
from botctl.sandbox.control.identity_probe import knows
from botctl.sandbox.process.service import sandbox_spec
from tests.support.discord import SECRET, local_discord


async def test_the_sandbox_with_the_secret_is_known_and_another_is_not() -> None:
    async with local_discord() as discord:
        port = int(discord.url.rpartition(":")[2])
        assert await knows("127.0.0.1", port, SECRET)
        assert not await knows("127.0.0.1", port, "of another sandbox")


@pytest.mark.parametrize("words", [b"", b"HTTP/1.1 200 OK\r\n\r\nhello", b"x" * 200_000])
async def test_whoever_else_listens_is_not_taken_for_it_and_learns_no_secret(words: bytes) -> None:
    heard = asyncio.Queue[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.put_nowait(await reader.readuntil(b"\r\n\r\n"))
        writer.write(words)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert not await knows("127.0.0.1", port, SECRET)
    assert SECRET.encode() not in await heard.get()


def test_a_taken_port_is_the_sandboxs_own_sentence(tmp_path: Path) -> None:
    launch = sandbox_spec(8080, {}).launch(Runtime(tmp_path), "http://127.0.0.1:8080")
    refusal = launch.refusal(ExitCode.HELD, "The port is taken.")
    assert isinstance(refusal, Held)
    assert str(refusal) == "The port is taken."
    assert launch.refusal(1, "a fault") is None

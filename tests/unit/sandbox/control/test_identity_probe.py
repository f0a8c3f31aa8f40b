"""The probe accepts only the sandbox with the right secret."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from botctl.core.errors import ExitCode, Held
from botctl.core.processes.runtime import Runtime
from botctl.sandbox.control.identity_probe import is_sandbox
from botctl.sandbox.process.service import sandbox_spec
from tests.support.discord import SECRET, local_discord


async def test_probe_accepts_only_the_sandbox_with_the_secret() -> None:
    async with local_discord() as discord:
        port = int(discord.url.rpartition(":")[2])
        assert await is_sandbox("127.0.0.1", port, SECRET)
        assert not await is_sandbox("127.0.0.1", port, "of another sandbox")


@pytest.mark.parametrize("response", [b"", b"HTTP/1.1 200 OK\r\n\r\nhello", b"x" * 200_000])
async def test_probe_rejects_other_servers_and_sends_no_secret(response: bytes) -> None:
    received = asyncio.Queue[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.put_nowait(await reader.readuntil(b"\r\n\r\n"))
        writer.write(response)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert not await is_sandbox("127.0.0.1", port, SECRET)
    assert SECRET.encode() not in await received.get()


def test_taken_port_keeps_the_error_of_the_sandbox_process(tmp_path: Path) -> None:
    launch = sandbox_spec(8080, {}).launch(Runtime(tmp_path), "http://127.0.0.1:8080")
    error = launch.exit_error(ExitCode.HELD, "The port is taken.")
    assert isinstance(error, Held)
    assert str(error) == "The port is taken."
    assert launch.exit_error(1, "a fault") is None

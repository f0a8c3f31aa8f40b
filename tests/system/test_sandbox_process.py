"""``python -m botctl.sandbox``: ready line, secrets, the world's file, shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.discord import BOT, GENERAL, GUILD
from tests.support.waiting import LIMIT_S, until

SECRETS = {"BOTCTL_SANDBOX_TOKEN": "the-token", "BOTCTL_SANDBOX_SECRET": "the-secret"}
AS_BOT, AS_CONTROL = {"Authorization": "Bot the-token"}, {"Authorization": "Bearer the-secret"}


@contextlib.asynccontextmanager
async def process(*arguments: str, env: dict[str, str] = SECRETS) -> AsyncIterator[tuple[Any, dict[str, Any]]]:
    """Start the process and read its ready line; kill it at the end if it still runs."""
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "botctl.sandbox", *arguments)
    running = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env={**os.environ, **env})
    try:
        line = await asyncio.wait_for(running.stdout.readline(), LIMIT_S)
        yield running, json.loads(line or b"{}")
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


async def test_restart_keeps_commands_messages_and_attachments(tmp_path: Path) -> None:
    state = tmp_path / "sandbox.json"
    file = tmp_path / "note.txt"
    file.write_text("hello")
    async with aiohttp.ClientSession() as http, process("--state", str(state)) as (first, ready):
        api = f"{ready['url']}/api/v10"
        command = {"name": "ping", "description": "Ping"}
        async with http.put(
            f"{api}/applications/{BOT}/guilds/{GUILD}/commands", json=[command], headers=AS_BOT
        ) as said:
            registered = await said.json()
        form = aiohttp.FormData({"payload_json": '{"content": "before"}'})
        form.add_field("files[0]", file.read_bytes(), filename="note.txt")
        async with http.post(f"{api}/channels/{GENERAL}/messages", data=form, headers=AS_BOT) as said:
            message = await said.json()
        await until(
            lambda: state.exists() and "before" in state.read_text()
        )  # saved while it runs, not only at the end
        first.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(first.wait(), LIMIT_S) == 0
        assert not any(secret in state.read_text() for secret in SECRETS.values())
        port = ready["url"].rpartition(":")[2]
        async with process("--state", str(state), "--port", port) as (second, again):
            assert again["url"] == ready["url"]
            async with http.get(f"{ready['url']}/_control/state", headers=AS_CONTROL) as said:
                assert (await said.json())["commands"] == registered
            async with http.get(f"{api}/channels/{GENERAL}/messages", headers=AS_BOT) as said:
                assert await said.json() == [message]
            async with http.get(message["attachments"][0]["url"]) as said:
                assert await said.text() == "hello"
            second.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(second.wait(), LIMIT_S) == 0


async def test_missing_secrets_are_generated_and_printed() -> None:
    async with process(env={}) as (_, ready):
        assert set(ready) == {"url", "pid", "token", "control_secret"}
    async with process() as (_, ready):
        assert set(ready) == {"url", "pid"}


async def test_used_port_and_broken_file_have_exit_codes(tmp_path: Path) -> None:
    async with process() as (_, ready), process("--port", ready["url"].rpartition(":")[2]) as (second, _):
        assert await asyncio.wait_for(second.wait(), LIMIT_S) == 6
        assert b"cannot listen on port" in await second.stderr.read()
    (tmp_path / "state.json").write_text("{}")
    async with process("--state", str(tmp_path / "state.json")) as (broken, _):
        assert await asyncio.wait_for(broken.wait(), LIMIT_S) == 78
        assert b"was not written by this version" in await broken.stderr.read()


async def test_process_stops_while_a_client_is_connected() -> None:
    async with (
        aiohttp.ClientSession() as http,
        process() as (running, ready),
        http.ws_connect(ready["url"] + "/?v=10&encoding=json") as socket,
    ):
        await socket.receive()
        running.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running.wait(), 30) == 0  # aiohttp would wait 60 s


async def test_missing_openapi_file_stops_the_process_with_a_message(tmp_path: Path) -> None:
    async with process(env={"BOTCTL_DISCORD_OPENAPI": str(tmp_path / "none.json")}) as (running, ready):
        assert ready == {}
        assert await asyncio.wait_for(running.wait(), LIMIT_S) == 78
        said = (await running.stderr.read()).decode()
    assert said.count("\n") == 1
    assert "none.json cannot be read: No such file or directory. Set BOTCTL_DISCORD_OPENAPI" in said

"""The prompt of ``botctl sandbox`` when the sandbox does not answer."""

from __future__ import annotations

import asyncio
import io
import sys
from unittest.mock import AsyncMock

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.output import DummyOutput

from botctl.cli.sandbox import prompt as prompt_module
from botctl.cli.sandbox.prompt import _Prompt, run_piped_lines
from botctl.cli.sandbox.transcript import TranscriptWriter
from botctl.core.errors import Unreachable
from botctl.sandbox.console.client import Identity, SandboxClient
from botctl.sandbox.console.repl_commands import Notice
from botctl.sandbox.console.user_session import UserSession
from tests.support.waiting import LIMIT_S, until


@pytest.fixture
def client() -> AsyncMock:
    return AsyncMock(SandboxClient)


@pytest.fixture
def prompt(client: AsyncMock) -> _Prompt:
    with create_app_session(output=DummyOutput()):
        return _Prompt(UserSession(client, Identity("ann", "general")), TranscriptWriter())


async def test_ctrl_c_stops_waiting_while_the_watcher_hangs(
    prompt: _Prompt, client: AsyncMock, capsys: pytest.CaptureFixture[str]
) -> None:
    client.messages.side_effect = asyncio.Event().wait  # it hangs
    watcher = asyncio.create_task(prompt._poll_sandbox())
    await until(lambda: client.messages.called, what="the watcher's question")

    async def never() -> Notice:
        await asyncio.Event().wait()
        return Notice("")

    line = asyncio.create_task(prompt._run_and_show(never(), lambda _: None))
    await until(lambda: prompt._pending is not None, what="a line that is waited for")
    prompt._interrupt()
    assert await asyncio.wait_for(line, LIMIT_S)
    assert capsys.readouterr().out == "Stopped waiting.\n"
    watcher.cancel()


async def test_toolbar_shows_an_unreachable_sandbox(prompt: _Prompt, client: AsyncMock) -> None:
    client.messages.side_effect = Unreachable("gone")
    watcher = asyncio.create_task(prompt._poll_sandbox())
    await until(lambda: "does not answer" in str(prompt._toolbar_text()), what="what stands under the line")
    watcher.cancel()


async def test_line_that_is_no_text_is_refused(
    client: AsyncMock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the locale is. The other lines are run."""
    session = AsyncMock(UserSession, client=client)
    ran: list[str] = []

    async def run_line(_session: UserSession, line: str) -> Notice:
        ran.append(line)
        return Notice("ok")

    monkeypatch.setattr(prompt_module, "run_line", run_line)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("über\n\n".encode() + b"\xff\xfe\nlast"), "ascii"))
    assert not await run_piped_lines(session, TranscriptWriter())
    assert ran == ["über\n", "last"]
    assert "Line 3 of the input is not text in UTF-8." in capsys.readouterr().err

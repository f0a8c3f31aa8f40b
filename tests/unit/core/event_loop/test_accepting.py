"""Connections are accepted for ever, whatever goes wrong with one of them."""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import Any, cast

import pytest

from botctl.core.event_loop.accepting import accept_connections
from botctl.core.event_loop.tasks import end_task


@pytest.mark.looptime
async def test_client_that_has_gone_costs_no_pause_and_missing_descriptors_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    full = OSError(errno.EMFILE, "Too many open files")
    script: list[Any] = [ConnectionAbortedError(), ("first", "a"), full, ("second", "b")]

    async def sock_accept(_: object) -> Any:
        if not script:
            await asyncio.Event().wait()
        step = script.pop(0)
        if isinstance(step, OSError):
            raise step
        return step

    monkeypatch.setattr(loop, "sock_accept", sock_accept)
    accepted: list[tuple[Any, Any, float]] = []

    def handle(connection: Any, address: Any) -> None:
        accepted.append((connection, address, loop.time()))

    with caplog.at_level(logging.WARNING):
        task = asyncio.create_task(accept_connections(cast(Any, None), handle))
        await asyncio.sleep(5)
        await end_task(task)
    assert accepted == [("first", "a", 0.0), ("second", "b", 1.0)]
    assert [record.getMessage() for record in caplog.records] == [
        "a connection cannot be accepted: Too many open files"
    ]

"""Who held the event loop up, in one line."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time

import pytest

from botctl.core.telemetry.loop_watch import LoopWatch, frame_location
from tests.support.waiting import LIMIT_S

LINE = logging.WARNING


def hold(watch: LoopWatch) -> None:
    """Do not give way until the thread has seen it."""
    deadline = time.monotonic() + LIMIT_S
    while "test_loop_watch.py" not in (watch.blocker or ""):
        assert time.monotonic() < deadline, f"the thread saw {watch.blocker}"
        if watch.blocker is not None:  # a busy machine stopped this thread in the methods of the watch
            watch.record_lag(0)
        time.sleep(0.001)


@pytest.mark.parametrize("name", ["/block", None])
async def test_blocker_of_the_loop_is_logged_once(name: str | None, caplog: pytest.LogCaptureFixture):
    """By the command's name where there is one, and by its line; not after it has let go."""
    asked: list[asyncio.Task[None] | None] = []

    def describe_task(task: asyncio.Task[None]) -> str | None:
        asked.append(task)
        return name

    with LoopWatch(describe_task, interval_s=0.0, blocked_s=0.02) as watch:
        hold(watch)
        watch.record_lag(20_000)
        watch.record_lag(3)
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == LINE]
    assert "telemetry/test_loop_watch.py:" in line
    assert line.endswith("blocked the event loop for 20.0 s: the bot answered no one in that time")
    assert line.startswith("/block (") is (name is not None)
    assert {*asked} == {asyncio.current_task()}


async def test_suspended_process_has_no_blocker(caplog: pytest.LogCaptureFixture):
    """Suspended, or short of processor time: the thread saw nothing either."""
    caplog.set_level(logging.INFO)
    with LoopWatch(lambda _: None, interval_s=1000.0) as watch:
        watch.record_lag(5000)
    assert [(record.levelno, record.getMessage()) for record in caplog.records if "stood" in record.getMessage()] == [
        (logging.INFO, "the whole process stood still for 5.0 s")
    ]


def test_frame_location_skips_library_frames():
    """Not the line of json.py that happened to run."""
    places: list[str] = []

    def look(_: str) -> int:
        places.append(frame_location(sys._getframe(1)))
        return 1

    json.loads("1", parse_int=look)
    assert places[0].startswith("telemetry/test_loop_watch.py:")
    assert frame_location(None) == "something"

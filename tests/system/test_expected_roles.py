"""A role that no process has any more is absent, unless a person has ended it with Ctrl-C at a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from botctl.core.config.loading import load
from botctl.core.contracts.health import Health
from botctl.core.processes.runtime import Runtime
from botctl.monitor import verdict
from botctl.monitor.roles import ROLE_TTL_MS, role_key
from botctl.run.oneshot.monitor import build_monitor
from botctl.stores import redis as redis_clients
from tests.support.cli import BOTCTL, Project
from tests.support.terminal import terminal
from tests.support.waiting import LIMIT_S, until


async def test_role_is_absent_until_it_comes_back_or_is_ended_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict, "ABSENT_S", 0.5)  # a twentieth
    project = Project(tmp_path / "bot")
    with project.process("run", "--only", "stores", until="project"):
        monitor = build_monitor(load(project.root, None, project.env, {}))

        async def has_jobs() -> bool:
            return any("jobs" in process.roles for process in (await monitor.once()).processes)

        async def is_absent() -> bool:
            found = (await monitor.once()).diagnoses
            return any(each.verdict is Health.ABSENT and "the role jobs" in each.why for each in found)

        assert not await is_absent()
        address = Runtime(project.root).live()["redis"].address
        async with redis_clients.connect(address, timeout_s=LIMIT_S) as redis:
            key = role_key("bot", "jobs")
            await redis.set(key, "another:1", px=ROLE_TTL_MS - 60_000)  # a process had it a minute ago

            async def is_taken_over() -> bool:
                return bool(await redis.get(key) != b"another:1")

            await until(is_absent, what="the verdict")
            with terminal((*BOTCTL, "run", "--only", "jobs"), project.root, 100, 30) as screen:
                await until(has_jobs, what="the process with the jobs")
                assert not await is_absent()
                await until(is_taken_over, what="the process in Redis")  # while it starts, it only answers itself
                screen.press("C-c")
                screen.wait_for_text("ended with 130")
            assert not await redis.exists(key)
        assert not await has_jobs()
        assert not await is_absent()

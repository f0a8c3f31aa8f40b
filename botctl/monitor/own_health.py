"""What this process knows of its own health. The event loop leaves it, and any thread may ask for it."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from botctl.core.contracts.health import Diagnosis, Health, worst
from botctl.core.telemetry.loop_watch import describe_current
from botctl.monitor.health_answer import BLOCKED_S, HealthAnswer, KnownHealth, answer, as_json, should_restart
from botctl.monitor.rows import ProcessReport
from botctl.monitor.snapshot import Snapshot
from botctl.monitor.verdict import judge_report

BEAT_S: Final = 0.5
_NAMED_S: Final = 1.0  # a loop that is so late is doing something that has a name
_MOMENT_S: Final = 0.5
"""For the first beat of a loop after a process was continued, or its host woke up: the thread may run before it."""


class OwnHealth:
    """The health of this process, with ``roles``. `beat` must run in its event loop.

    `answer` may be called in any thread: it reads immutable objects that the loop has left, and how late the loop is.
    """

    def __init__(self, roles: Collection[str], *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.proc = f"{socket.gethostname()}:{os.getpid()}"
        self.roles = tuple(sorted(map(str, roles)))
        self._clock_s = clock_s
        self._loop: tuple[asyncio.AbstractEventLoop, int] | None = None  # and the id of its thread
        self._describe_task: Callable[[asyncio.Task[Any]], str | None] = lambda _: None
        self._beat_s = clock_s()
        self._known = KnownHealth()
        self.enter(Health.STARTING, f"{self} is starting")

    def __str__(self) -> str:
        """For people: ``vm:12 (bot, jobs)``."""
        return f"{self.proc} ({', '.join(self.roles)})"

    async def beat(self) -> None:
        """Show that the event loop runs. Never returns."""
        self._loop = asyncio.get_running_loop(), threading.get_ident()
        while True:
            self._beat_s = self._clock_s()
            await asyncio.sleep(BEAT_S)

    def enter(self, verdict: Health, why: str, action: str = "") -> None:
        """The process starts, waits or stops. All but DRAINING ends with the next snapshot."""
        phase = Diagnosis(verdict=verdict, proc=self.proc, why=why, action=action)
        self._known = replace(self._known, phase=phase)

    def post(self, snapshot: Snapshot) -> None:
        """Judge ``snapshot``, which was made just now."""
        report = ProcessReport(snapshot.proc, snapshot, 0.0, alive=True)
        found = judge_report(report, datetime.now(UTC))
        phase = self._known.phase
        if phase is not None and phase.verdict is Health.DRAINING:
            found = tuple(finding for finding in found if finding.verdict is not Health.DRAINING)  # said already
        else:
            phase = None
        self._known = replace(self._known, phase=phase, snapshot=snapshot, found=found, at_s=self._clock_s())

    def post_bot(self, verdict: Diagnosis) -> None:
        """The verdict on the whole bot, as this process knows it."""
        self._known = replace(self._known, bot=verdict)

    def watch_tasks(self, describe_task: Callable[[asyncio.Task[Any]], str | None]) -> None:
        """Use ``describe_task`` to name what a task runs (``/block``). The answering thread calls it."""
        self._describe_task = describe_task

    def answer(self) -> HealthAnswer:
        """The verdict now. Any thread but the loop's may call it; it waits a moment before it says ``blocked``."""
        late_s = self._late_s()
        give_up_s = self._clock_s() + _MOMENT_S
        while late_s >= BLOCKED_S and self._clock_s() < give_up_s:
            time.sleep(0.02)
            late_s = self._late_s()
        blocker = None
        if late_s >= _NAMED_S and self._loop is not None:
            blocker = describe_current(*self._loop, self._describe_task)
        return answer(
            self._known, proc=self.proc, roles=self.roles, now_s=self._clock_s(), late_s=late_s, blocker=blocker
        )

    def answer_json(self) -> bytes:
        """`answer`, as it is sent."""
        return as_json(self.answer())

    def should_restart(self) -> bool:
        """As `health_answer.should_restart`, from the last snapshot. For the loop, which is not blocked then."""
        return should_restart(self._known.found)

    def settled(self) -> Diagnosis | None:
        """The verdict of the last snapshot. None before the first, and while the process starts, waits or stops."""
        finding = worst(self._known.found)
        return None if self._known.phase is not None or finding.verdict.passes else finding

    def _late_s(self) -> float:
        return max(0.0, self._clock_s() - self._beat_s - BEAT_S)

"""One child process: started, waited for until it answers, started again at the same address, and stopped.

The embedded stores and the sandbox are such children. A child has a session of its own, so that the Ctrl-C of a
terminal does not end it before the bot has drained; and on Linux it dies with its parent, even by kill -9.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn, Self

from botctl.core.errors import BotctlError, ServiceFailed, ServiceTimeout
from botctl.core.escape import safe
from botctl.core.processes.process import child_environment, die_with_parent, start_time

LOG_BYTES: Final = 1_000_000  # a log that is longer is put aside when the child starts
_HEALTHY_S: Final = 10.0  # a child that lived this long may be started again at once
_FIRST_DELAY_S: Final = 0.1
_LAST_DELAY_S: Final = 5.0
_FIRST_POLL_S: Final = 0.005
_LAST_POLL_S: Final = 0.05
_PROBE_S: Final = 2.0


def _ignore(*_news: Any) -> None:
    """For a caller who does not want to hear of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSpec:
    """How a child is started.

    ``name`` is what a person reads. ``command`` has an absolute path first; ``log`` takes all that it prints.
    ``answers`` tells whether it serves its address; OSError and TimeoutError count as no. ``prepare`` is called before
    each start, to remove what a killed one left behind. ``refusal`` makes an error of the exit status and the last line
    that it printed, when it ends while it is starting; None leaves it at ServiceFailed.
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    log: Path
    answers: Callable[[], Awaitable[bool]]
    prepare: Callable[[], None] = _ignore
    refusal: Callable[[int, str], BotctlError | None] = _ignore
    env: Mapping[str, str] = field(default_factory=child_environment)
    start_s: float = 10.0
    stop_s: float = 5.0


class Child:
    """A child process: `start`, then let a task run `supervise`, then `stop`. ``async with`` does the outer two.

    ``spawned(pid)`` is called for every process, before it answers. ``down(detail)`` and ``restarted(exit_status,
    down_s)`` tell of an end that nobody asked for; the exit status is negative for a signal.
    """

    def __init__(
        self,
        launch: LaunchSpec,
        *,
        spawned: Callable[[int], None] = _ignore,
        down: Callable[[str], None] = _ignore,
        restarted: Callable[[int, float], None] = _ignore,
    ) -> None:
        self.launch = launch
        self._spawned = spawned
        self._down = down
        self._restarted = restarted
        self._process: asyncio.subprocess.Process | None = None
        self._since = 0.0
        self._short_lives = 0
        self._stopping = False

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()

    @property
    def pid(self) -> int | None:
        """Its process id, None while there is no process."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            ServiceFailed: it cannot be started, or ended instead of answering and has no ``refusal`` for that.
            ServiceTimeout: it did not answer within ``start_s``. It is still running; `stop` ends it.
        """
        self._stopping = False
        await self._begin()

    async def _begin(self) -> None:
        process = await self._spawn()
        try:
            async with asyncio.timeout(self.launch.start_s):
                await self._until_it_answers(process)
        except TimeoutError:
            raise ServiceTimeout(
                f"{self.launch.name} did not answer within {self.launch.start_s:g} s.", hint=self._see_log()
            ) from None

    async def supervise(self) -> NoReturn:
        """Start it again whenever it ends, at once after a healthy life, with growing delays after short ones.

        After `stop` it only waits to be cancelled, so the two may come in either order.
        """
        while self._process is not None:
            status = await self._process.wait()
            if self._stopping:
                break
            ended = time.monotonic()
            self._down(f"{self.launch.name} {_exit_text(status)}; starting it again")
            if await self._revive():
                self._restarted(status, time.monotonic() - ended)
        while True:
            await asyncio.get_running_loop().create_future()

    async def stop(self) -> None:
        """Ask it to end, and kill it when it has not within ``stop_s``. More than once is fine."""
        self._stopping = True
        await self._end(self._process)

    async def _end(self, process: asyncio.subprocess.Process | None) -> None:
        if process is None or process.returncode is not None:
            return
        try:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            async with asyncio.timeout(self.launch.stop_s):
                await process.wait()
        except TimeoutError:
            pass
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    async def _revive(self) -> bool:
        """Start it until it answers; False when `stop` was called meanwhile."""
        while not self._stopping:
            await asyncio.sleep(self._delay_s())
            try:
                await self._begin()
            except BotctlError as error:
                await self._end(self._process)
                self._down(str(error))
            else:
                break
        if self._stopping:
            await self._end(self._process)
        return not self._stopping

    def _delay_s(self) -> float:
        """How long to wait before the next start."""
        self._short_lives = 0 if time.monotonic() - self._since > _HEALTHY_S else self._short_lives + 1
        if self._short_lives <= 1:
            return 0.0
        exponent = min(self._short_lives - 2, 16)
        return min(_FIRST_DELAY_S * 2.0**exponent, _LAST_DELAY_S)

    async def _spawn(self) -> asyncio.subprocess.Process:
        launch = self.launch
        self._since = time.monotonic()
        try:
            launch.prepare()
            with contextlib.closing(_Log(launch.log)) as log:
                self._process = await asyncio.create_subprocess_exec(
                    *die_with_parent(launch.command),
                    cwd=launch.folder,
                    env=launch.env,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log.descriptor,
                    stderr=log.descriptor,
                    start_new_session=True,
                )
        except OSError as error:
            raise ServiceFailed(f"{launch.name} cannot be started: {safe(error)}.", hint=self._see_log()) from error
        self._spawned(self._process.pid)
        return self._process

    async def _until_it_answers(self, process: asyncio.subprocess.Process) -> None:
        poll_s = _FIRST_POLL_S
        while not await self._answers():
            if process.returncode is not None or self._stopping:
                break
            await asyncio.sleep(poll_s)
            poll_s = min(poll_s * 1.5, _LAST_POLL_S)
        if start_time(process.pid) is None:  # somebody else may answer at its address, and asyncio hears of an end late
            await process.wait()
        if process.returncode is not None:
            said = _last_line(self.launch.log)
            if (refusal := self.launch.refusal(process.returncode, said)) is not None:
                raise refusal
            ended = f"{self.launch.name} {_exit_text(process.returncode)} while it was starting"
            raise ServiceFailed(f"{ended}: {said}" if said else f"{ended}.", hint=self._see_log())

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(_PROBE_S):
                return await self.launch.answers()
        except (OSError, TimeoutError):
            return False

    def _see_log(self) -> str:
        return f"What it said is in {self.launch.log}"


class _Log:
    """The file a child prints to, open for appending, readable by its owner only."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > LOG_BYTES:
                path.replace(path.with_name(path.name + ".1"))
        self.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def close(self) -> None:
        os.close(self.descriptor)


def _exit_text(status: int) -> str:
    return f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"


def _last_line(log: Path) -> str:
    """The last line that is not empty, cut and escaped: it came from another program."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 2000))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return safe(next((line.strip() for line in reversed(lines) if line.strip()), ""))

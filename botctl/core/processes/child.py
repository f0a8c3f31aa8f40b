"""Run one child process (an embedded store or the sandbox): start it, wait until it is ready, restart it, stop it.

A child has its own session (setsid), so that Ctrl-C in a terminal does not end it before the bot. On Linux the kernel
kills it when its parent ends, even after kill -9.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn, Self

from botctl.core.errors import BotctlError, ServiceFailed, ServiceTimeout
from botctl.core.escape import safe
from botctl.core.files.private import make_private_folder
from botctl.core.processes.process import child_environment, die_with_parent, start_time

_log = logging.getLogger(__name__)

LOG_BYTES: Final = 1_000_000  # a longer log is rotated when the child starts
_HEALTHY_S: Final = 10.0  # after a run of this length the child is restarted at once
_FIRST_DELAY_S: Final = 0.1
_LAST_DELAY_S: Final = 5.0
_FIRST_POLL_S: Final = 0.005
_LAST_POLL_S: Final = 0.05
_PROBE_S: Final = 2.0  # the most that one call of ``is_ready`` may take


def _ignore(*_args: Any) -> None:
    pass


class _EndedEarly(ServiceFailed):
    """The process ended while it was starting. ``status``: as in `asyncio.subprocess.Process.returncode`.

    ``output``: its last line.
    """

    def __init__(self, sentence: str, *, hint: str, status: int, output: str) -> None:
        super().__init__(sentence, hint=hint)
        self.status = status
        self.output = output


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSpec:
    """How to start a child process. It must be ready within ``start_s``, and end within ``stop_s`` of a stop."""

    name: str  # for people
    command: tuple[str, ...]  # begins with an absolute path
    folder: Path  # its working directory
    log: Path  # takes its stdout and stderr
    is_ready: Callable[[], Awaitable[bool]]  # whether it answers; OSError and TimeoutError mean no
    prepare: Callable[[], None] = _ignore  # called in a thread before each start, to clean up after a kill
    exit_error: Callable[[int, str], BotctlError | None] = _ignore  # of a failed start; gets its status and last line
    # Called in a thread after the process has ended while it was starting, for the first time with 0, then 1 …. It
    # changes what kept the process from starting, says so in a sentence for the log, and the process is started again.
    # None: there is nothing (more) to do.
    repair: Callable[[int, str, int], str | None] = _ignore  # from exit status, last line, number of the attempt
    env: Mapping[str, str] = field(default_factory=child_environment)
    start_s: float = 10.0
    stop_s: float = 5.0


class Child:
    """A child process. ``async with`` starts and stops it; run `supervise` in a task in between.

    ``on_spawn(pid)`` is called for every process, before it is ready; ``on_exit(detail)`` when it has ended
    unexpectedly; ``on_restart(exit_status, down_s)`` when it is ready again. The status is negative for a signal.
    """

    def __init__(
        self,
        launch: LaunchSpec,
        *,
        on_spawn: Callable[[int], None] = _ignore,
        on_exit: Callable[[str], None] = _ignore,
        on_restart: Callable[[int, float], None] = _ignore,
    ) -> None:
        self.launch = launch
        self._on_spawn = on_spawn
        self._on_exit = on_exit
        self._on_restart = on_restart
        self._process: asyncio.subprocess.Process | None = None
        self._started_at = 0.0
        self._quick_exits = 0
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
        """Its process id, or None while it does not run."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            ServiceFailed: it cannot be started, or it ended and ``exit_error`` returned None.
            ServiceTimeout: it was not ready within ``start_s``. It still runs; `stop` ends it.
        """
        self._stopping = False
        await self._start_once()

    async def _start_once(self) -> None:
        """Start it; when it ends at once, let ``repair`` change something and start it again."""
        attempts = itertools.count()
        while True:
            try:
                await self._start_process()
            except _EndedEarly as error:
                done = await asyncio.to_thread(self.launch.repair, error.status, error.output, next(attempts))
                if done is None or self._stopping:
                    raise
                _log.warning("%s", done)
            else:
                return

    async def _start_process(self) -> None:
        process = await self._spawn()
        try:
            async with asyncio.timeout(self.launch.start_s):
                await self._wait_until_ready(process)
        except TimeoutError:
            raise ServiceTimeout(
                f"{self.launch.name} did not answer within {self.launch.start_s:g} s.", hint=self._log_hint()
            ) from None

    async def supervise(self) -> NoReturn:
        """Restart it whenever it ends: at once after a long run, with growing delays after short ones.

        After `stop` it restarts nothing and waits to be cancelled, so `stop` may come before the cancellation.
        """
        while self._process is not None:
            status = await self._process.wait()
            if self._stopping:
                break
            ended_at = time.monotonic()
            self._on_exit(f"{self.launch.name} {_exit_text(status)}; starting it again")
            if await self._restart_until_ready():
                self._on_restart(status, time.monotonic() - ended_at)
        while True:
            await asyncio.get_running_loop().create_future()

    async def stop(self) -> None:
        """Terminate it, and kill it after ``stop_s``. May be called more than once."""
        self._stopping = True
        await self._terminate(self._process)

    async def _terminate(self, process: asyncio.subprocess.Process | None) -> None:
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

    async def _restart_until_ready(self) -> bool:
        """Start it until it is ready. Returns False if `stop` was called."""
        while not self._stopping:
            await asyncio.sleep(self._delay_s())
            try:
                await self._start_once()
            except BotctlError as error:
                await self._terminate(self._process)
                self._on_exit(str(error))
            else:
                break
        if self._stopping:
            await self._terminate(self._process)
        return not self._stopping

    def _delay_s(self) -> float:
        """Count this exit, and return the seconds until the restart."""
        self._quick_exits = 0 if time.monotonic() - self._started_at > _HEALTHY_S else self._quick_exits + 1
        if self._quick_exits <= 1:
            return 0.0
        exponent = min(self._quick_exits - 2, 16)
        return min(_FIRST_DELAY_S * 2.0**exponent, _LAST_DELAY_S)

    async def _spawn(self) -> asyncio.subprocess.Process:
        launch = self.launch
        self._started_at = time.monotonic()
        try:
            await asyncio.to_thread(launch.prepare)
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
            raise ServiceFailed(f"{launch.name} cannot be started: {safe(error)}.", hint=self._log_hint()) from error
        self._on_spawn(self._process.pid)
        return self._process

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> None:
        poll_s = _FIRST_POLL_S
        while not await self._is_ready():
            if process.returncode is not None or self._stopping:
                break
            await asyncio.sleep(poll_s)
            poll_s = min(poll_s * 1.5, _LAST_POLL_S)
        if start_time(process.pid) is None:  # another process may serve its address, and asyncio notices an end late
            await process.wait()
        if process.returncode is not None:
            output = _last_line(self.launch.log)
            if (error := self.launch.exit_error(process.returncode, output)) is not None:
                raise error
            problem = f"{self.launch.name} {_exit_text(process.returncode)} while it was starting"
            sentence = f"{problem}: {output}" if output else f"{problem}."
            raise _EndedEarly(sentence, hint=self._log_hint(), status=process.returncode, output=output)

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(_PROBE_S):
                return await self.launch.is_ready()
        except (OSError, TimeoutError):
            return False

    def _log_hint(self) -> str:
        return f"Its output is in {self.launch.log}"


class _Log:
    """The log file of a child, open for appending, mode 0600."""

    def __init__(self, path: Path) -> None:
        make_private_folder(path.parent)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > LOG_BYTES:
                path.replace(path.with_name(path.name + ".1"))
        self.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def close(self) -> None:
        os.close(self.descriptor)


def _exit_text(status: int) -> str:
    """How the child ended, in words, by its exit status."""
    return f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 2000))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return safe(next((line.strip() for line in reversed(lines) if line.strip()), ""))

"""The live screen of `botctl monitor`: redrawn for each new state and each resize, until the user presses q."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Any, Final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from botctl.cli.monitor.view import render, render_waiting
from botctl.core.errors import ExitCode
from botctl.core.processes.stop_signals import EXIT_CODES, discard_lost_output, stop_signals
from botctl.monitor.reader import Frame, Monitor

_QUIT: Final = frozenset(b"qQ\x04")  # \x04 is Ctrl-D: a plain character in this terminal mode


async def run_live(monitor: Monitor) -> ExitCode:
    """Show the states from ``monitor``; return the exit code for q (0), or the signal."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[ExitCode] = loop.create_future()
    console = Console(highlight=False)
    screen = _Screen(monitor.bot, console)

    def end(exit_code: ExitCode) -> None:
        if not ended.done():
            ended.set_result(exit_code)

    with screen.live, _handle_quit_key(lambda: end(ExitCode.OK)), _handle_signals(screen, end):
        following = asyncio.create_task(_follow(monitor, screen), name="frames")
        futures: set[asyncio.Future[Any]] = {following, ended}
        try:
            await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        finally:
            following.cancel()
            await asyncio.wait({following})
        if not following.cancelled():
            following.result()
        return ended.result()


class _Screen:
    """The newest state (frame) of the monitor, in the current size of the terminal."""

    def __init__(self, bot: str, console: Console) -> None:
        self._bot = bot
        self._console = console
        self._frame = Frame(None, "Connecting.")
        self.live = Live(self._render(), console=console, screen=True, auto_refresh=False)

    def show(self, frame: Frame) -> None:
        self._frame = frame
        self.draw()

    def draw(self) -> None:
        self.live.update(self._render(), refresh=True)

    def _render(self) -> Text:
        # Rich would prefer the variables COLUMNS and LINES, and so never notice a resize.
        self._console.size = width, height = os.get_terminal_size(sys.stdout.fileno())
        view = self._frame.view
        if view is None or self._frame.waiting_for:
            return render_waiting(view, self._bot, self._frame.waiting_for, (width, height))
        return render(view, width, height, live=True)


async def _follow(monitor: Monitor, screen: _Screen) -> None:
    async with aclosing(monitor.frames()) as frames:
        async for frame in frames:
            screen.show(frame)


@contextmanager
def _handle_quit_key(quit_: Callable[[], None]) -> Iterator[None]:
    """Call ``quit_`` when q is pressed. Typed keys are not echoed. Does nothing if stdin is not a terminal."""
    if not sys.stdin.isatty():
        yield
        return
    keyboard, loop = sys.stdin.fileno(), asyncio.get_running_loop()
    attributes = termios.tcgetattr(keyboard)

    def read_keys() -> None:
        try:
            keys = os.read(keyboard, 100)
        except OSError:
            keys = b""
        if not keys or _QUIT & set(keys):  # end of file: the terminal was closed
            quit_()

    tty.setcbreak(keyboard, termios.TCSANOW)
    loop.add_reader(keyboard, read_keys)
    try:
        yield
    finally:
        loop.remove_reader(keyboard)
        with suppress(termios.error):  # the terminal was closed
            termios.tcsetattr(keyboard, termios.TCSADRAIN, attributes)


@contextmanager
def _handle_signals(screen: _Screen, end: Callable[[ExitCode], None]) -> Iterator[None]:
    """Redraw on SIGWINCH; call ``end`` on a `stop_signals`, so that the screen is restored."""
    loop = asyncio.get_running_loop()
    handled = stop_signals()
    loop.add_signal_handler(signal.SIGWINCH, screen.draw)
    for number in handled:
        loop.add_signal_handler(number, _end_on_signal, end, number)
    try:
        yield
    finally:
        for number in (signal.SIGWINCH, *handled):
            loop.remove_signal_handler(number)


def _end_on_signal(end: Callable[[ExitCode], None], number: signal.Signals) -> None:
    discard_lost_output()  # restoring the screen would fail without a terminal
    end(EXIT_CODES[number])

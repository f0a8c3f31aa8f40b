"""The picture of `botctl monitor` on the alternate screen, drawn anew with every look, every resize, until q."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, Final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from botctl.cli.monitor.view import render, render_waiting
from botctl.core.errors import ExitCode
from botctl.monitor.reader import Frame, Monitor

_QUIT: Final = frozenset(b"qQ\x04")  # and Ctrl-D, which in this mode comes as a character


async def run_live(monitor: Monitor) -> ExitCode:
    """Show what ``monitor`` sees until q (0), Ctrl-C (130) or SIGTERM (143)."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[ExitCode] = loop.create_future()
    console = Console(highlight=False)
    screen = _Screen(monitor.bot, console)

    def end(code: ExitCode) -> None:
        if not ended.done():
            ended.set_result(code)

    with screen.live, _quit_key(lambda: end(ExitCode.OK)), _signals(screen, end):
        look = asyncio.create_task(_follow(monitor, screen), name="look")
        ends: set[asyncio.Future[Any]] = {look, ended}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            look.cancel()
            await asyncio.wait({look})
        if not look.cancelled():
            look.result()
        return ended.result()


class _Screen:
    """The newest frame, at the size that the terminal has at the moment."""

    def __init__(self, bot: str, console: Console) -> None:
        self._bot = bot
        self._console = console
        self._frame = Frame(None, "Looking for it.")
        self.live = Live(self._drawn(), console=console, screen=True, auto_refresh=False)

    def show(self, frame: Frame) -> None:
        self._frame = frame
        self.draw()

    def draw(self) -> None:
        self.live.update(self._drawn(), refresh=True)

    def _drawn(self) -> Text:
        # Rich would believe COLUMNS and LINES, where they are set, and so never hear of a resize.
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
def _quit_key(quit_: Callable[[], None]) -> Iterator[None]:
    """Call ``quit_`` when q is pressed; nothing that is typed is shown. Without a terminal there are no keys."""
    if not sys.stdin.isatty():
        yield
        return
    keyboard, loop = sys.stdin.fileno(), asyncio.get_running_loop()
    before = termios.tcgetattr(keyboard)

    def pressed() -> None:
        typed = os.read(keyboard, 100)
        if not typed or _QUIT & set(typed):  # nothing at all: the terminal has gone
            quit_()

    tty.setcbreak(keyboard, termios.TCSANOW)
    loop.add_reader(keyboard, pressed)
    try:
        yield
    finally:
        loop.remove_reader(keyboard)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


@contextmanager
def _signals(screen: _Screen, end: Callable[[ExitCode], None]) -> Iterator[None]:
    """Draw anew when the terminal has another size; leave the screen as it was, whichever signal ends it."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, screen.draw)
    loop.add_signal_handler(signal.SIGINT, end, ExitCode.INTERRUPTED)
    loop.add_signal_handler(signal.SIGTERM, end, ExitCode.TERMINATED)
    try:
        yield
    finally:
        for number in (signal.SIGWINCH, signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

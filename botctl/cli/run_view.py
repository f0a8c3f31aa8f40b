"""What a person sees of `botctl run`: progress while it starts, the banner when it is ready, news after that.

All of it goes to stderr. On a terminal the progress is one block that is redrawn; elsewhere (PM2, a file) a line per
service.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from botctl.core.escape import safe
from botctl.core.events import ServiceChanged
from botctl.core.state import State, Status

_MARKS = {
    State.IDLE: ("·", "dim"),
    State.STARTING: ("…", "yellow"),
    State.READY: ("✓", "green"),
    State.DEGRADED: ("!", "yellow"),
    State.RESTARTING: ("↻", "yellow"),
    State.STOPPING: ("…", "yellow"),
    State.STOPPED: ("■", "dim"),
    State.FAILED: ("✗", "red"),
}


@dataclass(frozen=True)
class Banner:
    """What is said once everything is ready. ``facts`` are label and text; ``tries`` are commands to type."""

    title: str
    facts: Sequence[tuple[str, str]]
    tries: Sequence[tuple[str, str]]


class Progress:
    """The services as they start. A context manager: the block ends when the start does, however it ends."""

    def __init__(self, console: Console, names: Iterable[str]) -> None:
        self._console = console
        self._states: dict[str, tuple[State, str]] = dict.fromkeys(names, (State.IDLE, ""))
        self._live = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
            self._draw(self._live)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def hear(self, event: ServiceChanged) -> None:
        """A service changed its state."""
        state = State(event.new)
        took = "" if event.took_s is None else f"{event.took_s:.2f} s"
        self._states[event.service] = (state, event.detail or took)
        if self._live is not None:
            self._draw(self._live)
        elif state in (State.READY, State.FAILED):
            self._console.print(_line(event.service, state, event.detail or took))

    def _draw(self, live: Live) -> None:
        live.update(Group(*(_line(name, state, detail) for name, (state, detail) in self._states.items())))


def banner(said: Banner, statuses: Sequence[Status]) -> RenderableType:
    """The services with the time each took, what is embedded and where, and what to try."""
    parts: list[RenderableType] = [Text(said.title, "bold"), Text()]
    parts += [_line(s.name, s.state, s.detail or _seconds(s.started_in_s)) for s in statuses]
    parts += [Text(), _pairs(said.facts, "dim", "")]
    if said.tries:
        parts += [Text(), Text("Try, in another terminal:", "bold"), _pairs(said.tries, "cyan", "dim")]
    return Group(*parts, Text())


def _pairs(rows: Sequence[tuple[str, str]], left: str, right: str) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style=left, no_wrap=True)
    table.add_column(style=right, overflow="fold")
    for first, second in rows:
        table.add_row(Text(f"  {first}"), Text(second))
    return table


def _seconds(started_in_s: float | None) -> str:
    return "" if started_in_s is None else f"{started_in_s:.2f} s"


def _line(name: str, state: State, detail: str) -> Text:
    mark, style = _MARKS[state]
    line = Text(f"  {mark} ", style).append(f"{name:<14}", "default")
    return line.append(safe(detail), "dim")

"""What a person sees of `botctl run`: progress while it starts, the banner when it is ready, news after that.

All of it goes to stderr. On a terminal the progress is one block that is redrawn; elsewhere (PM2, a file) a line per
service.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from botctl.cli.output import plain
from botctl.cli.program_name import as_typed
from botctl.core.config.loading import Loaded
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.events import DrainStarted, ServiceChanged
from botctl.core.contracts.service_state import ServiceState, ServiceStatus
from botctl.core.escape import safe
from botctl.core.processes.runtime import Runtime
from botctl.core.services.registry import RunningServices
from botctl.core.telemetry.logs import FILE_NAME
from botctl.core.version import __version__
from botctl.stores.address import display_url

_MARKS = {
    ServiceState.IDLE: ("·", "dim"),
    ServiceState.STARTING: ("…", "yellow"),
    ServiceState.READY: ("✓", "green"),
    ServiceState.DEGRADED: ("!", "yellow"),
    ServiceState.RESTARTING: ("↻", "yellow"),
    ServiceState.STOPPING: ("…", "yellow"),
    ServiceState.STOPPED: ("■", "dim"),
    ServiceState.FAILED: ("✗", "red"),
}


_LINE_WIDTH = 160  # columns, where there is no terminal


@dataclass(frozen=True)
class Banner:
    """What is said once everything is ready. ``facts`` are label and text; ``tries`` are commands to type."""

    title: str
    facts: Sequence[tuple[str, str]]
    tries: Sequence[tuple[str, str]]


class Progress:
    """The services as they start, then what is worth a word. A context manager for the whole run."""

    def __init__(self, console: Console, names: Iterable[str]) -> None:
        self._console = console
        self._states: dict[str, tuple[ServiceState, str]] = dict.fromkeys(names, (ServiceState.IDLE, ""))
        self._live = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None
        self._starting = True

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
            self._draw(self._live)
        return self

    def __exit__(self, *_error: object) -> None:
        self.started()

    def started(self) -> None:
        """The start is over: clear the block."""
        self._starting = False
        if self._live is not None:
            self._live.stop()

    def stopping(self, event: DrainStarted) -> None:
        """A signal has come."""
        self._console.print(_stopping(event))

    def changed(self, event: ServiceChanged) -> None:
        """A service is in another state."""
        state = ServiceState(event.new)
        detail = event.detail or _seconds(event.took_s)
        self._states[event.service] = (state, detail)
        if self._starting and self._live is not None:
            self._draw(self._live)
        elif state in (
            ServiceState.FAILED,
            ServiceState.DEGRADED,
            ServiceState.READY,
        ):  # ready: it has started, or is well again
            self._console.print(_line(event.service, state, detail))

    def _draw(self, live: Live) -> None:
        live.update(Group(*(_line(name, state, detail) for name, (state, detail) in self._states.items())))


def _stopping(event: DrainStarted) -> Text:
    if not event.in_flight:
        return Text("Stopping.", "bold")
    count = "1 command" if event.in_flight == 1 else f"{event.in_flight} commands"
    text = Text(f"Stopping: {count} in flight may take up to {event.limit_s:g} s more.", "bold")
    return text.append(" A second signal does not wait.", "not bold dim")


def banner(said: Banner, statuses: Sequence[ServiceStatus]) -> RenderableType:
    """The services with the time each took, what is embedded and where, and what to try."""
    parts: list[RenderableType] = [Text(said.title, "bold"), Text()]
    if statuses:
        parts += [_line(s.name, s.state, s.detail or _seconds(s.started_in_s)) for s in statuses]
        parts += [Text()]
    parts += [_pairs(said.facts, "dim", "")]
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


def _line(name: str, state: ServiceState, detail: str) -> Text:
    mark, style = _MARKS[state]
    line = Text(f"  {mark} ", style).append(f"{name:<14}", "default")
    line.append(safe(detail), "dim").rstrip()
    return line


class _Screen(Console):
    """stderr. Where it is a file or a pipe, lines are long: whoever reads them later wraps them as they like."""

    def __init__(self, *, quiet: bool) -> None:
        width = None if sys.stderr.isatty() else _LINE_WIDTH
        super().__init__(stderr=True, highlight=False, quiet=quiet, width=width)

    def on_broken_pipe(self) -> None:
        """Nobody reads it any more: PM2 was killed. That is no reason to end the bot, as Rich would."""
        self.quiet = True


class RunView:
    """The view of `botctl.run.lifecycle.run` for a terminal; ``quiet`` shows nothing, where logs are for a machine."""

    def __init__(self, loaded: Loaded, *, quiet: bool) -> None:
        self._loaded = loaded
        self._console = _Screen(quiet=quiet)

    @contextmanager
    def following(self, names: Sequence[str], bus: Bus) -> Iterator[None]:
        with (
            Progress(self._console, names) as self._progress,
            bus.listen(self._progress.changed, ServiceChanged),
            bus.listen(self._progress.stopping, DrainStarted),
        ):
            yield

    def ready(self, running: RunningServices) -> None:
        self._progress.started()
        said = Banner(self._title(), self._facts(), self._tries())
        statuses = running.statuses() if self._console.is_terminal else ()  # elsewhere each had a line of its own
        shown = banner(said, statuses)
        if self._console.is_terminal:
            self._console.print(shown)
        else:
            self._console.out(plain(shown), highlight=False)

    def _title(self) -> str:
        settings = self._loaded.settings
        return f"botctl {__version__} runs {settings.bot} (profile {settings.profile}), pid {os.getpid()}"

    def _facts(self) -> list[tuple[str, str]]:
        """Where everything is; embedded parts are named as such."""
        settings, root = self._loaded.settings, self._loaded.root
        parts = Runtime(root).live()
        facts = [("project", str(root))]
        for name, label in _LABELS.items():
            if name in parts:
                facts.append((label, f"{_nearby(parts[name].address, root)}  (embedded)"))
        if settings.redis.url:
            facts.append((_LABELS["redis"], display_url(settings.redis.url.get_secret_value())))
        if settings.mongo.url:
            facts.append((_LABELS["mongo"], display_url(settings.mongo.url.get_secret_value())))
        if settings.discord.token:
            facts.append((_LABELS["sandbox"], "Discord itself"))
        if "realtime" in parts:
            facts.append(("realtime", parts["realtime"].address))
        facts.append(("logs", f"{settings.logs.folder}/{FILE_NAME}"))
        if not _LABELS.keys().isdisjoint(parts):
            facts.append(("", "What is embedded serves this machine and its user; servers are settings."))
        return facts

    def _tries(self) -> list[tuple[str, str]]:
        me = as_typed()
        tries = [(f"{me} stores", "where the data are")]
        if self._loaded.settings.discord.token:
            return [*tries, (f"{me} run --explain-config", "where each setting comes from")]
        return [(f'{me} sandbox send "/ping"', "a command"), (f"{me} sandbox", "a prompt of the local Discord"), *tries]


_LABELS = {"sandbox": "discord", "redis": "redis", "mongo": "mongodb"}


def _nearby(address: str, root: Path) -> str:
    """A socket's address as seen from the project, to be read at a glance."""
    return address.removeprefix(f"unix://{quote(str(root))}/")

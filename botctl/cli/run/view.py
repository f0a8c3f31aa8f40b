"""What `botctl run` prints on stderr: progress while it starts, a banner when it is ready, then state changes.

On a terminal the progress is one block that is redrawn; elsewhere (PM2, a file) it is one line per service.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote, unquote

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from botctl.cli.output import render_plain
from botctl.cli.program_name import program_name
from botctl.core.config.loading import Loaded
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.events import DrainStarted, ServiceChanged
from botctl.core.contracts.service_state import ServiceState, ServiceStatus
from botctl.core.escape import safe
from botctl.core.processes.runtime import Runtime
from botctl.core.redact import redact
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


_MIN_NAME_WIDTH = 14
_LINE_WIDTH = 160  # columns, if stderr is not a terminal


@dataclass(frozen=True)
class Banner:
    """``facts`` are pairs of label and text; ``suggestions`` are pairs of command and purpose."""

    title: str
    facts: Sequence[tuple[str, str]]
    suggestions: Sequence[tuple[str, str]]


class Progress:
    """Prints the services while they start, and their state changes later. A context manager for the whole run."""

    def __init__(self, console: Console, names: Iterable[str]) -> None:
        self._console = console
        self._states: dict[str, tuple[ServiceState, str]] = dict.fromkeys(names, (ServiceState.IDLE, ""))
        self._name_width = _name_width(self._states)
        self._printed: dict[str, tuple[ServiceState, str]] = {}
        self._live = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None
        self._is_starting = True

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
            self._draw(self._live)
        return self

    def __exit__(self, *_error: object) -> None:
        self.finish_start()

    def finish_start(self) -> None:
        self._is_starting = False
        if self._live is not None:
            self._live.stop()

    def print_stopping(self, event: DrainStarted) -> None:
        self._console.print(_stopping_text(event))

    def update(self, event: ServiceChanged) -> None:
        state = ServiceState(event.new)
        detail = event.detail or _format_seconds(event.took_s)
        self._states[event.service] = (state, detail)
        is_repeated = self._printed.get(event.service) == (state, detail)  # a task that ends again and again
        if self._is_starting and self._live is not None:
            self._draw(self._live)
        elif not is_repeated and state in (
            ServiceState.FAILED,
            ServiceState.DEGRADED,
            ServiceState.READY,
        ):  # ready: it has started or recovered
            self._printed[event.service] = (state, detail)
            self._console.print(_status_line(event.service, state, detail, self._name_width))

    def _draw(self, live: Live) -> None:
        states, width = self._states.items(), self._name_width
        live.update(Group(*(_status_line(name, state, detail, width) for name, (state, detail) in states)))


def _stopping_text(event: DrainStarted) -> Text:
    if not event.in_flight:
        return Text("Stopping.", "bold")
    count = "1 command" if event.in_flight == 1 else f"{event.in_flight} commands"
    text = Text(f"Stopping: waiting up to {event.limit_s:g} s for {count} to finish.", "bold")
    return text.append(" A second Ctrl-C stops at once.", "not bold dim")


def fit_banner(console: Console, banner: Banner, statuses: Sequence[ServiceStatus]) -> RenderableType:
    """The banner with a line for each service, or for those that are not ready if the terminal is not high enough."""
    whole = render_banner(banner, _status_lines(statuses))
    if len(console.render_lines(whole, pad=False)) < console.height:  # the cursor is in the line below
        return whole
    ready = [status for status in statuses if status.state is ServiceState.READY]
    summary = _status_line(f"{len(ready)} services", ServiceState.READY, "")
    return render_banner(banner, [summary, *_status_lines([s for s in statuses if s not in ready])])


def _status_lines(statuses: Sequence[ServiceStatus]) -> list[Text]:
    width = _name_width(status.name for status in statuses)
    return [_status_line(s.name, s.state, s.detail or _format_seconds(s.started_in_s), width) for s in statuses]


def _name_width(names: Iterable[str]) -> int:
    """Of a column that has space for the longest of ``names``, and two blanks."""
    return max((_MIN_NAME_WIDTH, *(len(name) + 2 for name in names)))


def render_banner(banner: Banner, services: Sequence[Text] = ()) -> RenderableType:
    """The lines of the services, the facts, and the suggestions."""
    parts: list[RenderableType] = [Text(banner.title, "bold"), Text()]
    if services:
        parts += [*services, Text()]
    parts += [_fact_table(banner.facts)]
    if banner.suggestions:
        heading = Text("Try, in another terminal:", "bold")
        parts += [Text(), heading, *_suggestion_lines(banner.suggestions)]
    return Group(*parts, Text())


def _suggestion_lines(rows: Sequence[tuple[str, str]]) -> Iterator[Text]:
    """Commands that a person copies: neither cut nor wrapped here, whatever their length."""
    widest = max(len(command) for command, _ in rows)
    for command, purpose in rows:
        line = Text(no_wrap=True, overflow="ignore").append(f"  {command:<{widest}}  ", "cyan")
        yield line.append(purpose, "dim")


def _fact_table(rows: Sequence[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for first, second in rows:
        table.add_row(Text(f"  {first}"), Text(second))
    return table


def _format_seconds(started_in_s: float | None) -> str:
    return "" if started_in_s is None else f"{started_in_s:.2f} s"


def _status_line(name: str, state: ServiceState, detail: str, name_width: int = _MIN_NAME_WIDTH) -> Text:
    mark, style = _MARKS[state]
    line = Text(f"  {mark} ", style).append(f"{name:<{name_width}}", "default")
    shown = redact(detail)  # before it is cut or wrapped: a line break would hide a secret
    first_line = shown.partition("\n")[0]  # all lines of an error are printed at the end
    line.append(safe(first_line), "dim").rstrip()
    return line


class _StderrConsole(Console):
    """A console for stderr. If that is no terminal, lines are long: the reader wraps them."""

    def __init__(self, *, quiet: bool) -> None:
        width = None if sys.stderr.isatty() else _LINE_WIDTH
        super().__init__(stderr=True, highlight=False, quiet=quiet, width=width)

    def on_broken_pipe(self) -> None:
        """PM2 was killed and no longer reads our output. Rich would end the process; a bot continues."""
        self.quiet = True


class RunView:
    """Shows the progress of `botctl.run.lifecycle.run`; with ``quiet`` it prints nothing."""

    def __init__(self, loaded: Loaded, *, quiet: bool) -> None:
        self._loaded = loaded
        self._console = _StderrConsole(quiet=quiet)

    @contextmanager
    def show_progress(self, names: Sequence[str], bus: Bus) -> Iterator[None]:
        with (
            Progress(self._console, names) as self._progress,
            bus.listen(self._progress.update, ServiceChanged),
            bus.listen(self._progress.print_stopping, DrainStarted),
        ):
            yield

    def show_ready(self, running: RunningServices) -> None:
        self._progress.finish_start()
        banner = Banner(self._title(), self._facts(), self._suggestions())
        if self._console.is_terminal:
            self._console.print(fit_banner(self._console, banner, running.statuses()), crop=False)
        else:  # each service already has its line
            self._console.out(render_plain(render_banner(banner)), highlight=False)

    def _title(self) -> str:
        settings = self._loaded.settings
        return f"botctl {__version__} runs {settings.bot} (profile {settings.profile}), pid {os.getpid()}"

    def _facts(self) -> list[tuple[str, str]]:
        settings, root = self._loaded.settings, self._loaded.root
        embedded = Runtime(root).live()
        facts = [("project", str(root))]
        for name, label in _LABELS.items():
            if name in embedded:
                facts.append((label, f"{_relative_address(embedded[name].address, root)}  (embedded)"))
        if settings.redis.url:
            facts.append((_LABELS["redis"], display_url(settings.redis.url.get_secret_value())))
        if settings.mongo.url:
            facts.append((_LABELS["mongo"], display_url(settings.mongo.url.get_secret_value())))
        if settings.discord.token:
            facts.append((_LABELS["sandbox"], "the real Discord"))
        if "realtime" in embedded:
            facts.append(("realtime", embedded["realtime"].address))
        if "web" in embedded:
            facts.append(("web page", embedded["web"].address))
        facts.append(("logs", f"{settings.logs.folder}/{FILE_NAME}"))
        if not _LABELS.keys().isdisjoint(embedded):
            facts.append(
                (
                    "",
                    "Embedded parts serve this machine only; redis.url, mongo.url and discord.token name real servers.",
                )
            )
        return facts

    def _suggestions(self) -> list[tuple[str, str]]:
        program, web = program_name(), Runtime(self._loaded.root).live().get("web")
        page = [] if web is None else [(web.address, "open the web page in a browser")]
        stores = (f"{program} stores", "show where the data is")
        if self._loaded.settings.discord.token:
            return [*page, stores, (f"{program} run --explain-config", "show where each setting comes from")]
        return [
            *page,
            (f'{program} sandbox send "/ping"', "send a command to the bot"),
            (f"{program} sandbox", "open a prompt in the local Discord"),
            stores,
        ]


_LABELS = {"sandbox": "discord", "redis": "redis", "mongo": "mongodb"}  # embedded part -> its name in the banner


def _relative_address(address: str, root: Path) -> str:
    """``address`` without the path of the project, if it is a socket there."""
    for prefix in (f"unix://{quote(str(root))}/", f"mongodb://{quote(f'{root}/', safe='')}"):
        if address.startswith(prefix):
            return unquote(address.removeprefix(prefix))
    return address

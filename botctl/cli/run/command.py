"""``botctl run``: start the bot and everything it needs."""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import Annotated

import typer
import uvloop
from rich.table import Table
from rich.text import Text

from botctl.cli.json_output import print_json
from botctl.cli.options import AsJson, Profile, Project
from botctl.cli.output import show
from botctl.cli.run.view import RunView
from botctl.cli.settings import load_settings
from botctl.core.config.loading import Loaded, explain
from botctl.core.errors import UsageError
from botctl.core.telemetry.logs import start_logs
from botctl.run.lifecycle import run as run_roles
from botctl.run.lifecycle import run_to_completion
from botctl.run.roles import DEFAULT_ROLES, ProcessRole

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def run(
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="ROLE", help="Start only this role: bot, realtime, jobs, web or stores. Repeatable."
        ),
    ] = None,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Start without the command files that cannot be loaded.")
    ] = False,
    migrate: Annotated[
        bool | None,
        typer.Option(
            "--migrate/--no-migrate", help="Apply pending migrations first. Default: the setting migrate.on_start."
        ),
    ] = None,
    now: Annotated[
        bool,
        typer.Option("--now", help="Start without the pause after crashes, and take the reserve of logins. Audited."),
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Log in, instead of resuming the sessions of the last process.")
    ] = False,
    explain_config: Annotated[
        bool, typer.Option("--explain-config", help="Print each setting and where it comes from, then exit.")
    ] = False,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Start the bot and everything it needs, until Ctrl-C or SIGTERM.

    Without a token the bot connects to the sandbox, a local Discord. Without server addresses it starts an embedded
    Redis and MongoDB. After the first signal, running commands may finish; a second signal stops at once. Exit code 3
    if migrations are pending. With --json, logs are JSON lines.
    """
    overrides = {} if migrate is None else {"migrate.on_start": migrate}
    loaded = load_settings(project, profile, overrides | ({"discord.resume": False} if fresh else {}))
    if explain_config:
        _print_settings(loaded, as_json=as_json)
        for notice in () if as_json else loaded.notices:
            print(notice, file=sys.stderr)
        return
    roles = _parse_roles(only)
    view = RunView(loaded, quiet=as_json)
    logs = start_logs(loaded.settings, loaded.root, json_stderr=as_json)
    # A server creates few reference cycles and many short-lived objects. Collecting every 700 allocations, Python's
    # default, costs a tenth of each command's CPU.
    gc.set_threshold(20_000, 50, 100)
    start = run_roles(loaded, roles, view, skip_broken=skip_broken, now=now, attended=_is_attended())
    with logs, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        exit_code = run_to_completion(runner, start)
    raise typer.Exit(exit_code)


def _is_attended() -> bool:
    """Whether a person types at a terminal. A process manager gives its processes another stdin."""
    return sys.stdin is not None and sys.stdin.isatty()


def _parse_roles(only: list[str] | None) -> list[ProcessRole]:
    known = {str(role) for role in ProcessRole}
    for name in only or ():
        if name not in known:
            raise UsageError(f"there is no role {name!r}.", hint=f"Choose one for --only: {', '.join(sorted(known))}.")
    return [ProcessRole(name) for name in only] if only else list(DEFAULT_ROLES)


def _print_settings(loaded: Loaded, *, as_json: bool) -> None:
    rows = explain(loaded)
    if as_json:
        print_json([{"key": row.key, "value": row.value_shown, "origin": row.origin} for row in rows])
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("setting", "value", "from"):
        table.add_column(column, overflow="fold")
    for row in rows:
        style = "dim" if row.origin == "default" else ""
        table.add_row(Text(row.key, style), Text(row.value_shown, style), Text(row.origin, style))
    show(table)

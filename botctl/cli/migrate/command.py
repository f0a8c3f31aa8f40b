"""``botctl migrate``: the shape of the database, changed in steps that are written down."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from botctl.cli.migrate import view
from botctl.cli.migrate.view import ProgressView, print_plan
from botctl.cli.options import AsJson, Profile, Project
from botctl.cli.settings import load_settings
from botctl.core.config.loading import Loaded
from botctl.core.errors import ExitCode, NeedsDecision, UsageError
from botctl.migrate import plan
from botctl.migrate.create import create as write
from botctl.migrate.files import Migration, Migrations, load
from botctl.migrate.plan import MigrationRow, RecordState
from botctl.migrate.runner import PATIENCE_S, Migrator, RunOptions, rows_of
from botctl.migrate.session import has_exited
from botctl.run.oneshot.migrate import open_ledger, open_migrator
from botctl.run.providers import discover_migrations
from botctl.run.signals import run_cancellable

app = typer.Typer(
    add_completion=False, no_args_is_help=True, rich_markup_mode=None, help="Change the database's shape, step by step."
)

Wait = Annotated[
    float | None,
    typer.Option(
        "--wait",
        metavar="SECONDS",
        min=0,
        help="How long to wait for another process that does migrations; else until it is known whether it lives.",
        show_default=False,
    ),
]
Number = Annotated[
    int | None, typer.Option("--to", metavar="N", min=0, help="The number of the last migration that is to be applied.")
]


@app.command()
def status(project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Show where every migration stands; change nothing.

    Exit code 3 when some are pending, 4 when files and database contradict each other, 5 when one failed or was cut
    off, 6 while one is being done.
    """
    rows = _rows(load_settings(project, profile))
    view.print_rows(rows, as_json=as_json)
    plan.require_nobody_at_work(rows, has_exited)
    plan.require_sound(rows)
    plan.require_nothing_pending(rows, "`botctl migrate up` applies them.")


@app.command()
def up(
    to: Number = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be applied; change nothing. Exit code 3 if anything.")
    ] = False,
    wait: Wait = None,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Apply what is pending, in order.

    Ctrl-C lets the migration that runs finish, and begins no other; a second one interrupts it.
    """
    loaded = load_settings(project, profile)
    if dry_run:
        _dry_run(loaded, to, as_json=as_json)
        return
    with ProgressView(as_json=as_json) as view:
        order = RunOptions(_wait_s(loaded, wait), view)
        _run_with_migrator(loaded, lambda migrator, found: open_migrator.up(found, to=to, order=order))


@app.command()
def down(
    to: Number = None,
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", min=1, help="How many; 1 when not told.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    wait: Wait = None,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Take back the newest migrations, the newest first. Asks before it does."""
    if to is not None and steps is not None:
        raise UsageError("--to and --steps are two ways to say how far.", hint="Give one of them.")
    loaded = load_settings(project, profile)
    rows = _rows(loaded)
    plan.require_nobody_at_work(rows, has_exited)
    plan.require_sound(rows)
    files = plan.to_revert(rows, to=to, steps=steps or 1)
    if files and not yes:
        _confirm(files)
    with ProgressView(as_json=as_json) as view:
        if files:
            order = RunOptions(_wait_s(loaded, wait), view)
            _run_with_migrator(loaded, lambda migrator, found: open_migrator.down(found, files, order=order))


@app.command()
def resolve(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The migration, or its number.", show_default=False)],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it goes into the audit log.")],
    applied: Annotated[bool, typer.Option("--applied", help="All of it is in effect, as its file says now.")] = False,
    pending: Annotated[bool, typer.Option("--pending", help="Nothing of it is in effect: it may run again.")] = False,
    wait: Wait = None,
    project: Project = None,
    profile: Profile = None,
) -> None:
    """Say how the database really is, where only a person can know.

    For a migration that failed or was cut off, a file that was changed on purpose, or one that was applied by hand.
    Changes the ledger and nothing else.
    """
    if applied == pending:
        raise UsageError("Say either --applied or --pending.")
    state = RecordState.APPLIED if applied else RecordState.REVERTED
    loaded = load_settings(project, profile)

    async def work(migrator: Migrator, found: Migrations) -> None:
        order = RunOptions(_wait_s(loaded, wait), ProgressView(as_json=False))
        before = await open_migrator.resolve(found, name, state, reason=reason, order=order)
        print(f"{before.name} was {before.standing} and is {'applied' if applied else 'pending'} now.")

    _run_with_migrator(loaded, work)


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it does, in a few words.", show_default=False)],
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Write the next file of the migrations folder, to be filled in."""
    loaded = load_settings(project, profile)
    path = write(Path(loaded.root, loaded.settings.migrate.folder), name)
    if as_json:
        print(json.dumps({"file": str(path)}))
    else:
        print(path)


def _rows(loaded: Loaded) -> tuple[MigrationRow, ...]:
    """Where everything stands; nothing is started but the store, and nothing is written."""
    found = discover_migrations(loaded)

    async def ask() -> tuple[MigrationRow, ...]:
        async with open_ledger(loaded) as applied:
            return await rows_of(found, applied)

    return asyncio.run(ask())


def _dry_run(loaded: Loaded, to: int | None, *, as_json: bool) -> None:
    rows = _rows(loaded)
    plan.require_nobody_at_work(rows, has_exited)
    plan.require_sound(rows)
    files = plan.to_apply(rows, to)
    load(discover_migrations(loaded), files)
    print_plan(files, as_json=as_json)
    if files:
        raise typer.Exit(ExitCode.PENDING)


def _run_with_migrator(loaded: Loaded, work: Callable[[Migrator, Migrations], Coroutine[Any, Any, None]]) -> None:
    """Do ``work`` with the services that it needs, to its end, or as signals say."""
    found = discover_migrations(loaded)

    async def do() -> None:
        async with open_migrator(loaded) as ready:
            await work(ready, found)

    if code := asyncio.run(run_cancellable(do())):
        raise typer.Exit(code)


def _wait_s(loaded: Loaded, wait: float | None) -> float:
    return loaded.settings.migrate.lease_s + PATIENCE_S if wait is None else wait


def _confirm(files: list[Migration]) -> None:
    names = ", ".join(file.name for file in files)
    if not sys.stdin.isatty():
        raise NeedsDecision(f"This takes back {names}.", hint="Say --yes if that is meant.")
    if not typer.confirm(f"Take back {names}?", err=True):
        raise NeedsDecision("Nothing was done.")

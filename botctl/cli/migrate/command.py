"""``botctl migrate``: apply, revert and check database migrations."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from botctl.cli.json_output import print_json
from botctl.cli.migrate import view
from botctl.cli.migrate.view import ProgressView, print_plan
from botctl.cli.options import AsJson, Profile, Project
from botctl.cli.settings import load_settings
from botctl.core.config.loading import Loaded
from botctl.core.contracts.malformed import Malformed
from botctl.core.errors import ExitCode, NeedsDecision, UsageError
from botctl.migrate import plan
from botctl.migrate.create import create as create_file
from botctl.migrate.files import Migration, Migrations, load
from botctl.migrate.ledger import COLLECTION
from botctl.migrate.plan import MigrationRow, RecordState
from botctl.migrate.runner import WAIT_MARGIN_S, Migrator, RunOptions, read_rows, read_rows_that_can_be
from botctl.migrate.session import has_exited
from botctl.run.oneshot.migrate import open_ledger, open_migrator
from botctl.run.providers import discover_migrations
from botctl.run.signals import run_cancellable

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Apply, revert and check database migrations.",
)

Wait = Annotated[
    float | None,
    typer.Option(
        "--wait",
        metavar="SECONDS",
        min=0,
        help="How long to wait while another process migrates. Default: until its lease would expire.",
        show_default=False,
    ),
]
Number = Annotated[
    int | None, typer.Option("--to", metavar="N", min=0, help="The number of the last migration that stays applied.")
]


@app.command()
def status(project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Show the state of every migration. Changes nothing.

    Exit code 3 if migrations are pending, 4 if files and database contradict each other, 5 if a migration failed or
    was interrupted, 6 while a process is migrating.
    """
    malformed = Malformed(COLLECTION)
    rows = _read_rows(load_settings(project, profile), malformed)
    view.print_rows(rows, as_json=as_json)
    malformed.require_none()
    plan.require_none_running(rows, has_exited)
    plan.require_consistent(rows)
    plan.require_none_pending(rows, "Apply them with `botctl migrate up`.")


@app.command()
def up(
    to: Number = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be applied. Exit code 3 if there is anything.")
    ] = False,
    wait: Wait = None,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Apply all pending migrations, in order.

    After Ctrl-C the running migration finishes and no other one starts. A second Ctrl-C interrupts it.
    """
    loaded = load_settings(project, profile)
    if dry_run:
        _dry_run(loaded, to, as_json=as_json)
        return
    with ProgressView(as_json=as_json) as progress:
        options = RunOptions(_wait_s(loaded, wait), progress)
        _run_with_migrator(loaded, lambda migrator, migrations: migrator.up(migrations, to=to, options=options))


@app.command()
def down(
    to: Number = None,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", min=1, help="How many to revert. Default: 1.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    wait: Wait = None,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Revert the newest migrations, the newest first. Asks for confirmation."""
    if to is not None and steps is not None:
        raise UsageError("--to and --steps exclude each other.", hint="Use `--to N` or `--steps N`.")
    loaded = load_settings(project, profile)
    rows = _read_rows(loaded)
    plan.require_none_running(rows, has_exited)
    plan.require_consistent(rows)
    files = plan.select_to_revert(rows, to=to, steps=steps or 1)
    if files and not yes:
        _confirm(files)
    with ProgressView(as_json=as_json) as progress:
        if files:
            options = RunOptions(_wait_s(loaded, wait), progress)
            _run_with_migrator(loaded, lambda migrator, migrations: migrator.down(migrations, files, options=options))


@app.command()
def resolve(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The migration's name or number.", show_default=False)],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Your reason, for the audit log.")],
    applied: Annotated[
        bool,
        typer.Option("--applied", help="The database has all changes that the file, in its present version, makes."),
    ] = False,
    pending: Annotated[
        bool, typer.Option("--pending", help="The database has none of its changes. The migration can run again.")
    ] = False,
    wait: Wait = None,
    project: Project = None,
    profile: Profile = None,
) -> None:
    """Record that a migration is applied or pending.

    Check the database first. This is for a migration that failed or was interrupted, that was applied by hand, or whose
    file you changed on purpose. Nothing but the record of the migration changes.
    """
    if applied == pending:
        raise UsageError(
            "`resolve` needs either --applied or --pending.", hint="`botctl migrate resolve --help` explains both."
        )
    state = RecordState.APPLIED if applied else RecordState.REVERTED
    loaded = load_settings(project, profile)

    async def resolve_migration(migrator: Migrator, migrations: Migrations) -> None:
        options = RunOptions(_wait_s(loaded, wait), ProgressView(as_json=False))
        before = await migrator.resolve(migrations, name, state, reason=reason, options=options)
        print(f"{before.name} was {before.status} and is {'applied' if applied else 'pending'} now.")

    _run_with_migrator(loaded, resolve_migration)


@app.command()
def create(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What the migration does, in a few words.", show_default=False)
    ],
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Create the next file in the migrations folder, for you to edit."""
    loaded = load_settings(project, profile)
    path = create_file(Path(loaded.root, loaded.settings.migrate.folder), name)
    if as_json:
        print_json({"file": str(path)})
    else:
        print(path)


def _read_rows(loaded: Loaded, malformed: Malformed | None = None) -> Sequence[MigrationRow]:
    """The state of every migration. Starts only the database, and writes nothing.

    Documents of the ledger that cannot be read are left out and put into ``malformed``; without it, they are an error.
    """
    migrations = discover_migrations(loaded)

    async def read() -> Sequence[MigrationRow]:
        async with open_ledger(loaded) as ledger:
            if malformed is None:
                return await read_rows(migrations, ledger)
            return await read_rows_that_can_be(migrations, ledger, malformed)

    return asyncio.run(read())


def _dry_run(loaded: Loaded, to: int | None, *, as_json: bool) -> None:
    rows = _read_rows(loaded)
    plan.require_none_running(rows, has_exited)
    plan.require_consistent(rows)
    files = plan.select_to_apply(rows, to)
    load(discover_migrations(loaded), files)
    print_plan(files, as_json=as_json)
    if files:
        raise typer.Exit(ExitCode.PENDING)


def _run_with_migrator(loaded: Loaded, work: Callable[[Migrator, Migrations], Coroutine[Any, Any, None]]) -> None:
    """Run ``work`` with a migrator; SIGINT and SIGTERM cancel it. Raises typer.Exit after a signal."""
    migrations = discover_migrations(loaded)

    async def open_and_work() -> None:
        async with open_migrator(loaded) as migrator:
            await work(migrator, migrations)

    if exit_code := asyncio.run(run_cancellable(open_and_work())):
        raise typer.Exit(exit_code)


def _wait_s(loaded: Loaded, wait: float | None) -> float:
    return loaded.settings.migrate.lease_s + WAIT_MARGIN_S if wait is None else wait


def _confirm(files: list[Migration]) -> None:
    names = ", ".join(file.name for file in files)
    if not sys.stdin.isatty():
        raise NeedsDecision(f"This would revert {names}.", hint="Add --yes to revert without a question.")
    if not typer.confirm(f"Revert {names}?", err=True):
        raise NeedsDecision("Nothing was reverted.")

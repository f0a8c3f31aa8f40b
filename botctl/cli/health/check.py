"""What `botctl health` does, and its plain calls, which need no Typer: that loads pydantic, and takes twice as long."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from botctl.cli.health.view import describe, render
from botctl.cli.json_output import print_json
from botctl.core.errors import ExitCode, Unreachable
from botctl.core.files.paths import find_root
from botctl.core.processes.runtime import Runtime
from botctl.logins.start_file import newest_start
from botctl.monitor.health_client import hear_processes


def check(project: Path | None, *, as_json: bool) -> ExitCode:
    """Print the verdict, and return the exit code. Raises Unreachable if no process of the project runs here."""
    runtime = Runtime(find_root(project, os.environ), read_only=True)
    heard = hear_processes(runtime)
    if not heard.answers and not heard.silent:
        raise Unreachable("No `botctl run` of this project is up.", hint=hint_for_absent(runtime.folder))
    report = describe(heard)
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        print(*render(report), sep="\n")
    return ExitCode.OK if report.health.verdict.works else ExitCode.FAILED


def hint_for_absent(folder: Path) -> str:
    """What to do when nothing runs: how the last run has ended says whether another start helps."""
    start = "Start it, or name the project with --project."
    last = newest_start(folder)
    if last is None:
        return start
    at = f"{datetime.fromtimestamp(last.seen_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if last.exit_code is None:
        return f"Its last run was last seen at {at}, and {last.why}. {start}"
    ended = f"Its last run ended with exit code {last.exit_code} at {at}"
    if not last.reason:
        return f"{ended}. {start}"
    first = (
        "Correct that first, or the next start may end in the same way" if last.exit_code == ExitCode.CONFIG else start
    )
    return f"{ended}: {last.reason.rstrip('.')}. {first.rstrip('.')}."


def parse_plain(arguments: Sequence[str]) -> tuple[Path | None, bool] | None:
    """``--project`` and ``--json``; None if Typer must see the ``arguments``: for help, or what is wrong with them."""
    project: Path | None = None
    as_json = False
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument == "--json":
            as_json = True
        elif name == "--project":
            value = value if equals else next(rest, "")
            if not value or value.startswith("-"):
                return None
            project = Path(value)
        else:
            return None
    return project, as_json

"""``botctl stores``: the address and the state of Redis and MongoDB."""

from __future__ import annotations

import asyncio
import dataclasses

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.text import Text

from botctl.cli.json_output import print_json
from botctl.cli.options import AsJson, Profile, Project
from botctl.cli.settings import load_settings
from botctl.core.errors import ExitCode
from botctl.core.processes.runtime import Runtime
from botctl.stores.report import StoreReport, StoreState, report

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def stores(project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Show the address and the state of Redis and MongoDB.

    Starts nothing. Exit code 7 if a store that should be up does not answer.
    """
    loaded = load_settings(project, profile)
    reports = asyncio.run(report(loaded.settings, Runtime(loaded.root)))
    if as_json:
        print_json([dataclasses.asdict(store) for store in reports])
    else:
        for store in reports:
            Console(highlight=False, soft_wrap=True).print(_describe_store(store))
    if any(store.state is StoreState.DOWN for store in reports):
        raise typer.Exit(ExitCode.UNREACHABLE)


def _describe_store(store: StoreReport) -> Text:
    """Two lines: the state, and the address."""
    facts = [
        store.version or ("" if store.detail else "not running; the next command that needs it starts it"),
        store.detail,
        "" if store.latency_ms is None else f"{store.latency_ms:.1f} ms",
        "" if store.size_bytes is None else f"{decimal(store.size_bytes)} on disk",
        "" if store.owner_pid is None else f"run by pid {store.owner_pid}",
    ]
    line = Text(f"{store.name:<7}", "bold").append(f"{store.state:<6}", f"not bold {_COLOURS[store.state]}")
    line.append(" · ".join(fact for fact in facts if fact), "not bold")
    return line.append(f"\n{'':13}{store.address}{' (embedded)' if store.embedded else ''}", "not bold dim")


_COLOURS = {"up": "green", "down": "red", "idle": "yellow"}

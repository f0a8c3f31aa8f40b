"""``botctl monitor``: all processes of the bot on one screen."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from typing import Annotated

import typer
from rich.console import Console

from botctl.cli.json_output import print_json
from botctl.cli.monitor.live import run_live
from botctl.cli.monitor.view import render
from botctl.cli.options import AsJson, Profile, Project
from botctl.cli.settings import load_settings
from botctl.core.safe_streams import output_required
from botctl.monitor.view import MonitorView
from botctl.run.oneshot.monitor import build_monitor

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def monitor(
    once: Annotated[bool, typer.Option("--once", help="Print the current state once, and exit.")] = False,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Show all processes of the bot, live.

    Press q to quit. Starts nothing: if no `botctl run` is up, it waits for one. With --once or --json, or if the output
    is not a terminal, it prints the current state once; exit code 7 if no `botctl run` is up.
    """
    loaded = load_settings(project, profile)
    reader = build_monitor(loaded)
    if once or as_json or not sys.stdout.isatty():
        _print(asyncio.run(reader.once()), as_json=as_json)
        return
    with output_required():
        raise typer.Exit(asyncio.run(run_live(reader)))


def _print(view: MonitorView, *, as_json: bool) -> None:
    if as_json:
        print_json(dataclasses.asdict(view))
        return
    console = Console(highlight=False)
    console.print(render(view, console.width))

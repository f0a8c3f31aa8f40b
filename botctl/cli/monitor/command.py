"""``botctl monitor``: all processes of the bot on one screen, as they are now."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from typing import Annotated

import typer
from rich.console import Console

from botctl.cli.monitor.live import run_live
from botctl.cli.monitor.view import render
from botctl.cli.options import AsJson, Profile, Project
from botctl.cli.settings import load_settings
from botctl.monitor.view import MonitorView
from botctl.run.oneshot.monitor import build_monitor as monitor_of

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def monitor(
    once: Annotated[bool, typer.Option("--once", help="Print the picture once, and stop.")] = False,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Watch all processes of the bot, from another terminal.

    Starts nothing and waits where nothing runs; q quits. With --once or --json, or where the output is no terminal, the
    picture is printed once; exit code 7 when nothing runs.
    """
    loaded = load_settings(project, profile)
    looking = monitor_of(loaded)
    if once or as_json or not sys.stdout.isatty():
        _print(asyncio.run(looking.once()), as_json=as_json)
        return
    raise typer.Exit(asyncio.run(run_live(looking)))


def _print(view: MonitorView, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(dataclasses.asdict(view)))
        return
    console = Console(highlight=False)
    console.print(render(view, console.width))

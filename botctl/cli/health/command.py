"""``botctl health``: whether the bot is well, asked of its processes on this host."""

from __future__ import annotations

import typer

from botctl.cli.health.check import check
from botctl.cli.options import AsJson, Project

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def health(project: Project = None, as_json: AsJson = False) -> None:
    """Ask the bot's processes on this host whether they are well.

    Needs no store. Exit code 0 if the bot is healthy or degraded, 1 if it is not (some users may get answers yet), 7 if
    no `botctl run` of this project is up here. A process that does not answer within 2 s is blocked.
    """
    raise typer.Exit(check(project, as_json=as_json))

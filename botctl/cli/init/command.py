"""``botctl init``: create a new bot from the example."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from botctl.cli.init.scaffold import create
from botctl.cli.json_output import print_json
from botctl.cli.options import AsJson
from botctl.cli.program_name import program_name

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the new bot. It may not exist yet.")],
    as_json: AsJson = False,
) -> None:
    """Create a new bot in the folder DIR."""
    written = create(folder)
    if as_json:
        print_json({"folder": str(folder), "files": [str(path) for path in written]})
        return
    for path in written:
        print(folder / path)
    typer.echo(f"\nStart it: cd {shlex.quote(str(folder))} && {program_name(absolute=True)} run", err=True)

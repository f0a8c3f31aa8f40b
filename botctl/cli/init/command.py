"""``botctl init``: create a new bot from the example."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from botctl.cli.init.scaffold import create
from botctl.cli.json_output import print_json
from botctl.cli.options import AsJson
from botctl.cli.program_name import program_name
from botctl.core.errors import ConfigError
from botctl.core.files.trust import require_trusted, require_trusted_code

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
    refusal = _refusal(folder.resolve())
    if refusal is not None:
        typer.echo(f"\nIt cannot be started there. {refusal}\n  → {refusal.hint}", err=True)
        return
    typer.echo(f"\nStart it: cd {shlex.quote(str(folder))} && {program_name(absolute=True)} run", err=True)


def _refusal(root: Path) -> ConfigError | None:
    """Why `botctl run` would refuse the new bot: its folder, or one above it, can be written by others."""
    try:
        require_trusted(root, os.environ)
        require_trusted_code(root, ("commands", "migrations"), (), os.environ)
    except ConfigError as error:
        return error
    return None

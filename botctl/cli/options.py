"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Project = Annotated[
    Path | None,
    typer.Option(
        "--project", metavar="DIR", help="The bot's folder; else BOTCTL_PROJECT, else this folder or one above it."
    ),
]
Profile = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="Use the settings of config/NAME.toml too; else BOTCTL_PROFILE."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, also for errors.")]

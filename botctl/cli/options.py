"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Project = Annotated[
    Path | None,
    typer.Option("--project", metavar="DIR", help="The bot's root; else BOTCTL_PROJECT, else the nearest parent."),
]
Profile = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="Settings of config/NAME.toml on top; else BOTCTL_PROFILE."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print data as JSON; errors too.")]

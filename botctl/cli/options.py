"""Options that several verbs share, and the one call that turns them into settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from botctl.core.config.loading import Loaded

Project = Annotated[
    Path | None,
    typer.Option("--project", metavar="DIR", help="The bot's root; else BOTCTL_PROJECT, else the nearest parent."),
]
Profile = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="Settings of config/NAME.toml on top; else BOTCTL_PROFILE."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print data as JSON; errors too.")]


def load_settings(project: Path | None, profile: str | None, flags: Mapping[str, object] | None = None) -> Loaded:
    """The settings of the bot that these options mean.

    Raises:
        ConfigError: no project here, or a setting is wrong.
    """
    import os

    from botctl.core.config.loading import load

    return load(project, profile, os.environ, flags or {})

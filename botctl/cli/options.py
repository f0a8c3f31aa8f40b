"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from botctl.core.contracts.audit_entry import MAX_REASON
from botctl.core.errors import UsageError

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


def _check_reason(reason: str) -> str:
    """Raises UsageError if the audit log would not take it whole."""
    if len(reason) > MAX_REASON or not reason.isprintable():
        raise UsageError(f"a reason is a text of at most {MAX_REASON} characters.", hint="It stands in the audit log.")
    return reason.strip()


Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", callback=_check_reason, help="Why, for the audit log.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, also for errors.")]

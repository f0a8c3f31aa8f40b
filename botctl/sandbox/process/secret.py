"""The control secret of a sandbox: made, kept in a file, or named by the environment."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from botctl.core.errors import BotctlError

TOKEN_VARIABLE, SECRET_VARIABLE = "BOTCTL_SANDBOX_TOKEN", "BOTCTL_SANDBOX_SECRET"


def generate_secret() -> str:
    return secrets.token_urlsafe(32)


def load_or_create_secret(path: Path) -> str:
    """The secret in the file ``path``, which is made, for its owner's eyes only, when it is not there.

    Raises BotctlError when it cannot be read or written.
    """
    try:
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(generate_secret() + "\n")
        found = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BotctlError(f"The secret in {path} cannot be had: {error}.") from None
    if not found:
        raise BotctlError(f"There is no secret in {path}.", hint="Delete the file; a new secret is made.")
    return found


def secret_from_environment(environment: Mapping[str, str]) -> str | None:
    """The control secret that the environment says, or names the file of."""
    if said := environment.get(SECRET_VARIABLE):
        return said
    named = environment.get(f"{SECRET_VARIABLE}_FILE")
    return load_or_create_secret(Path(named)) if named else None

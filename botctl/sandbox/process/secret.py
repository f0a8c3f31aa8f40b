"""The control secret of a sandbox: generated, kept in a file, or from the environment."""

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
    """Read the secret in ``path``; create a missing file, readable by its owner only. Raises BotctlError."""
    try:
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(generate_secret() + "\n")
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BotctlError(f"The secret file {path} cannot be read or written: {error}.") from None
    if not secret:
        raise BotctlError(
            f"The secret file {path} is empty.", hint="Delete the file, so that botctl creates a new one."
        )
    return secret


def secret_from_environment(environment: Mapping[str, str]) -> str | None:
    """Read the secret from `SECRET_VARIABLE`, or from the file that the variable with the suffix _FILE names."""
    if secret := environment.get(SECRET_VARIABLE):
        return secret
    file = environment.get(f"{SECRET_VARIABLE}_FILE")
    return load_or_create_secret(Path(file)) if file else None

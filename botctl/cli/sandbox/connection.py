"""Finds the running sandbox (the local Discord): the one at a URL, or the one of a project."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from botctl.core.errors import ConfigError, Unreachable, UsageError
from botctl.core.files.paths import find_root
from botctl.core.processes.runtime import Runtime
from botctl.sandbox.console.client import START_HINT, SandboxLocator
from botctl.sandbox.process.secret import SECRET_VARIABLE, secret_from_environment

URL_VARIABLE = "BOTCTL_SANDBOX_URL"

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help=f"URL of a sandbox from `sandbox serve`. Default: {URL_VARIABLE}."),
]


def resolve_locator(project: Path | None, url: str | None) -> SandboxLocator:
    """Choose the sandbox by the options, then the environment, then the project here. Raises ConfigError if none."""
    url = url or (None if project else os.environ.get(URL_VARIABLE))
    return UrlLocator(url) if url else ProjectLocator(find_root(project, os.environ))


def read_text(kind: str, path: Path) -> str:
    """Read the text file ``path``; ``kind`` is its name in the error: “recording”. Raises UsageError."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror
    except UnicodeDecodeError:
        reason = "it is not text in UTF-8"
    raise UsageError(f"The {kind} {path} cannot be read: {reason}.")


@dataclass(frozen=True)
class UrlLocator:
    """The sandbox at ``url``; its secret comes from the environment."""

    url: str

    def locate(self) -> tuple[str, str]:
        """Return the URL and the secret of the control API. Raises ConfigError without a secret."""
        secret = secret_from_environment(os.environ)
        if secret is None:
            hint = f"Set {SECRET_VARIABLE} to the secret that `botctl sandbox serve` printed, or {SECRET_VARIABLE}_FILE"
            raise ConfigError(
                f"The control secret of the sandbox at {self.url} is missing.", hint=f"{hint} to its --secret-file."
            )
        return self.url, secret

    def bot_pid(self) -> int | None:
        return None


@dataclass(frozen=True)
class ProjectLocator:
    """The sandbox of the project in the folder ``root``."""

    root: Path

    def locate(self) -> tuple[str, str]:
        """Return the URL and the secret of the control API. Raises Unreachable when no sandbox runs."""
        part = Runtime(self.root).parts().get("sandbox")
        if part is None or part.secret is None or not part.owned:
            raise Unreachable(f"No sandbox runs for the bot in {self.root}.", hint=START_HINT)
        if not part.live:
            message = f"The sandbox has stopped, and process {part.owner_pid} restarts it."
            raise Unreachable(message, hint="Try again in a moment.")
        return part.address, part.secret

    def bot_pid(self) -> int | None:
        """The id of the process that runs the project's bot, if one does."""
        return Runtime(self.root).holder("bot")


def decode_text(raw: bytes, name: str) -> str:
    """The text in ``raw``, in UTF-8 whatever the locale is. Raises UsageError, which calls it ``name``."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{name} is not text in UTF-8.", hint="Convert it first, for example with iconv.") from None

"""Which sandbox is meant: the one at a URL, or that of a project."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from botctl.core.errors import ConfigError, Unreachable, UsageError
from botctl.core.paths import find_root
from botctl.core.processes.runtime import Runtime
from botctl.sandbox.console.client import START_HINT, SandboxLocator
from botctl.sandbox.process.secret import SECRET_VARIABLE, secret_from_environment

URL_VARIABLE = "BOTCTL_SANDBOX_URL"

Url = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help=f"A sandbox that no project runs; else {URL_VARIABLE}. Its secret: see serve."
    ),
]


def resolve_locator(project: Path | None, url: str | None) -> SandboxLocator:
    """Where the options say that the sandbox is; without any, as the environment says, or the project around.

    Raises:
        ConfigError: there is no project here, or a URL without a secret.
    """
    url = url or (None if project else os.environ.get(URL_VARIABLE))
    return UrlLocator(url) if url else ProjectLocator(find_root(project, os.environ, Path.cwd()))


def read_text(what: str, path: Path) -> str:
    """What stands in the file ``path``, which is ``what``. Raises UsageError with the reason when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror
    except UnicodeDecodeError:
        reason = "it is no text in UTF-8"
    raise UsageError(f"The {what} {path} cannot be read: {reason}.")


@dataclass(frozen=True)
class UrlLocator:
    """A sandbox at ``url``, whose secret the environment has."""

    url: str

    def sandbox(self) -> tuple[str, str]:
        """The URL and the control secret.

        Raises:
            ConfigError: there is no secret.
        """
        secret = secret_from_environment(os.environ)
        if secret is None:
            hint = f"It was printed by `botctl sandbox serve`: set {SECRET_VARIABLE}, or {SECRET_VARIABLE}_FILE to the file it is in."
            raise ConfigError(f"The control secret of the sandbox at {self.url} is not known.", hint=hint)
        return self.url, secret

    def bot(self) -> int | None:
        """Nobody knows."""
        return None


@dataclass(frozen=True)
class ProjectLocator:
    """What runs for the project at ``root``."""

    root: Path

    def sandbox(self) -> tuple[str, str]:
        """The URL and the control secret of its sandbox.

        Raises:
            Unreachable: none runs.
        """
        part = Runtime(self.root).parts().get("sandbox")
        if part is None or part.secret is None or not part.owned:
            raise Unreachable(f"No sandbox runs for the bot in {self.root}.", hint=START_HINT)
        if not part.live:
            sentence = f"The sandbox has ended, and process {part.owner_pid} starts it again."
            raise Unreachable(sentence, hint="Try again in a moment.")
        return part.address, part.secret

    def bot(self) -> int | None:
        """The process that is the bot."""
        return Runtime(self.root).holder("bot")

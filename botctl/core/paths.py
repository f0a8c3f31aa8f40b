"""The folders and files of a project."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from botctl.core.errors import BotctlError, ConfigError
from botctl.core.escape import safe
from botctl.core.private_files import write_private
from botctl.core.trust import require_trusted

SETTINGS_FILE: Final = Path("config", "botctl.toml")
STATE_FOLDER: Final = ".botctl"
PROJECT_VARIABLE: Final = "BOTCTL_PROJECT"


def find_root(project: Path | None, env: Mapping[str, str], start: Path | None = None) -> Path:
    """The project's root: ``project`` or ``BOTCTL_PROJECT``, else the nearest parent of ``start`` with a settings file.

    ``start``: None is the working directory.

    Raises:
        ConfigError: there is no settings file, another user could have written the project (`core.trust`), or there is
            no working directory to start from.
    """
    named = project or (Path(env[PROJECT_VARIABLE]) if env.get(PROJECT_VARIABLE) else None)
    here = named or start or working_folder()
    here = (here if here.is_absolute() else working_folder() / here).resolve()
    for folder in [here] if named else [here, *here.parents]:
        if (folder / SETTINGS_FILE).exists():
            require_trusted(folder, env)
            return folder
    parents = "" if named else ", nor has a folder above it"
    raise ConfigError(
        f"{safe(here)} has no {SETTINGS_FILE}{parents}.",
        hint="Create a bot with `botctl init DIR`, or name an existing one with --project DIR.",
    )


def working_folder() -> Path:
    """The working directory. Raises ConfigError if it has been deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise ConfigError(
            "The working directory of this terminal has been deleted.",
            hint="Change to a folder that exists (`cd`), then type the command again.",
        ) from None


def state_folder(root: Path) -> Path:
    """The folder ``.botctl`` of the project. Creates it if it is missing: mode 0700, ignored by git.

    Raises:
        ConfigError: it cannot be created, or is not a folder.
        BotctlError: the disk is full.
    """
    folder = root / STATE_FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)  # a copy may have another mode, and this folder holds sockets and secrets
        ignore = folder / ".gitignore"
        if not ignore.exists():
            write_private(ignore, "*\n")
    except OSError as error:
        sentence = f"{folder} cannot be used: {error.strerror}."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BotctlError(sentence, hint="Free space on that disk.") from error
        raise ConfigError(sentence, hint="The folder must belong to the user who runs botctl.") from error
    return folder

"""Where a project keeps things."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from botctl.core.errors import BotctlError, ConfigError
from botctl.core.escape import safe

SETTINGS_FILE: Final = Path("config", "botctl.toml")
STATE_FOLDER: Final = ".botctl"
PROJECT_VARIABLE: Final = "BOTCTL_PROJECT"


def find_root(project: Path | None, env: Mapping[str, str], start: Path) -> Path:
    """The project's root: what is named, else the nearest of ``start`` and its parents with config/botctl.toml.

    Raises:
        ConfigError: there is no settings file.
    """
    named = project or (Path(env[PROJECT_VARIABLE]) if env.get(PROJECT_VARIABLE) else None)
    here = (named or start).resolve()
    for folder in [here] if named else [here, *here.parents]:
        if (folder / SETTINGS_FILE).exists():
            return folder
    alone = "" if named else ", nor has a folder above it"
    raise ConfigError(
        f"{safe(here)} has no {SETTINGS_FILE}{alone}.",
        hint="`botctl init DIR` writes a new bot into DIR; --project DIR names one that exists.",
    )


def state_folder(root: Path) -> Path:
    """``.botctl`` of the project at ``root``, made when it is missing: 0700, and ignored by git.

    Raises:
        ConfigError: it cannot be made, or is not a folder.
        BotctlError: the disk is full.
    """
    folder = root / STATE_FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)  # it may have been copied about; sockets and control secrets live here
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError as error:
        sentence = f"{folder} cannot be used: {error.strerror}."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BotctlError(sentence, hint="Make room on that disk.") from error
        raise ConfigError(sentence, hint="botctl keeps its state there; it must own that folder.") from error
    return folder

"""Where a project keeps things."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

from botctl.core.errors import BotctlError, ConfigError

SETTINGS_FILE: Final = Path("config", "botctl.toml")
STATE_FOLDER: Final = ".botctl"


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

"""From the options of a call to the settings of a bot."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from botctl.core.config.loading import Loaded, load


def load_settings(project: Path | None, profile: str | None, flags: Mapping[str, object] | None = None) -> Loaded:
    """The settings of the bot that these options mean.

    Raises:
        ConfigError: no project here, or a setting is wrong.
    """
    return load(project, profile, os.environ, flags or {})

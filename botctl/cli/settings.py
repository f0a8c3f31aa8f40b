"""Load the settings of a bot from the options of a call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from botctl.core.config.loading import Loaded, load


def load_settings(project: Path | None, profile: str | None, flags: Mapping[str, object] | None = None) -> Loaded:
    """Load the settings of the bot that these options name. Raises ConfigError: no project here, or a wrong setting."""
    return load(project, profile, os.environ, flags or {})

"""Old module names that a bot's files may still import, because `botctl init` or the docs once used them.

New files import from `botctl` itself. An entry may be removed in a release that announces the removal.
"""

from __future__ import annotations

import importlib
import sys
from typing import Final

MOVED_MODULES: Final = {
    "botctl.core.bus": "botctl.core.contracts.bus",
    "botctl.core.event_log": "botctl.core.contracts.event_log",
    "botctl.core.events": "botctl.core.contracts.events",
    "botctl.core.guilds": "botctl.core.contracts.guild_settings",
    "botctl.core.jobs": "botctl.core.contracts.jobs",
    "botctl.core.protocols": "botctl.core.contracts.protocols",
    "botctl.core.registry": "botctl.core.services.registry",
    "botctl.core.settings": "botctl.core.config.settings",
    "botctl.core.tasks": "botctl.core.services.tasks",
}


def alias_moved_modules() -> None:
    """Let imports of the old names find the modules at their new place."""
    for old, new in MOVED_MODULES.items():
        sys.modules.setdefault(old, importlib.import_module(new))

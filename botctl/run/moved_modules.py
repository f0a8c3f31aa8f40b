"""Old module names that files of a bot may import, because `botctl init` or the docs once wrote them.

New files import from `botctl` itself. An entry may go when a release has said so.
"""

from __future__ import annotations

import importlib
import sys
from typing import Final

MOVED: Final = {
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


def keep_old_names() -> None:
    """Let imports of the old names find the modules where they are now."""
    for old, new in MOVED.items():
        sys.modules.setdefault(old, importlib.import_module(new))

"""botctl runs a Discord bot the way a good operations team would run it.

What a command's author needs stands here; it is loaded when it is first asked for, so that ``botctl --help`` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botctl.bot.command import Command, MessageCommand, UserCommand, component, modal, on
    from botctl.bot.context import Context
    from botctl.core.contracts.jobs import JobRun, job
    from botctl.core.errors import UsageError

__version__ = "0.1.0"
__all__ = [
    "Command",
    "Context",
    "JobRun",
    "MessageCommand",
    "UsageError",
    "UserCommand",
    "component",
    "job",
    "modal",
    "on",
]
_HOMES = {
    "Context": "botctl.bot.context",
    "JobRun": "botctl.core.contracts.jobs",
    "UsageError": "botctl.core.errors",
    "job": "botctl.core.contracts.jobs",
}


def __getattr__(name: str) -> Any:
    """The author's names, on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, "botctl.bot.command")), name)

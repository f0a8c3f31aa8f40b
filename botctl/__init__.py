"""botctl runs and operates a Discord bot.

Authors of commands import from here: ``from botctl import Command, Context, CommandFinished, on``. Each name is loaded
on first use, so that ``botctl --help`` starts fast. To read the code, start with ``botctl/cli/main.py``;
``docs/glossary.md`` explains the words.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from botctl.core.version import __version__ as __version__

if TYPE_CHECKING:
    from botctl.bot.client import Bot as Bot
    from botctl.bot.commands.command import Command as Command
    from botctl.bot.commands.command import MessageCommand as MessageCommand
    from botctl.bot.commands.command import UserCommand as UserCommand
    from botctl.bot.commands.command import component as component
    from botctl.bot.commands.command import modal as modal
    from botctl.bot.commands.command import on as on
    from botctl.bot.interactions.context import Context as Context
    from botctl.core.config.settings import Settings as Settings
    from botctl.core.contracts.event_log import EventLog as EventLog
    from botctl.core.contracts.events import AutocompleteAnswered as AutocompleteAnswered
    from botctl.core.contracts.events import CommandFinished as CommandFinished
    from botctl.core.contracts.events import CommandStarted as CommandStarted
    from botctl.core.contracts.events import DrainStarted as DrainStarted
    from botctl.core.contracts.events import Event as Event
    from botctl.core.contracts.events import EventsLost as EventsLost
    from botctl.core.contracts.events import GatewayChanged as GatewayChanged
    from botctl.core.contracts.events import GuildSettingsChanged as GuildSettingsChanged
    from botctl.core.contracts.events import HealthChanged as HealthChanged
    from botctl.core.contracts.events import JobFinished as JobFinished
    from botctl.core.contracts.events import JobStarted as JobStarted
    from botctl.core.contracts.events import KeyCreated as KeyCreated
    from botctl.core.contracts.events import KeyRevoked as KeyRevoked
    from botctl.core.contracts.events import MigrationApplied as MigrationApplied
    from botctl.core.contracts.events import MigrationFailed as MigrationFailed
    from botctl.core.contracts.events import RunEnding as RunEnding
    from botctl.core.contracts.events import RunStarted as RunStarted
    from botctl.core.contracts.events import ServiceChanged as ServiceChanged
    from botctl.core.contracts.events import StoreRestarted as StoreRestarted
    from botctl.core.contracts.health import Diagnosis as Diagnosis
    from botctl.core.contracts.health import Health as Health
    from botctl.core.contracts.health import HealthSource as HealthSource
    from botctl.core.contracts.jobs import JobRun as JobRun
    from botctl.core.contracts.jobs import job as job
    from botctl.core.contracts.protocols import GuildSettingsStore as GuildSettingsStore
    from botctl.core.contracts.protocols import StatusSource as StatusSource
    from botctl.core.contracts.service_state import ServiceHealth as ServiceHealth
    from botctl.core.contracts.service_state import ServiceStatus as ServiceStatus
    from botctl.core.contracts.shards import ShardStatus as ShardStatus
    from botctl.core.errors import UsageError as UsageError

_NAMES_BY_MODULE = {
    "botctl.bot.client": ("Bot",),
    "botctl.bot.commands.command": ("Command", "MessageCommand", "UserCommand", "component", "modal", "on"),
    "botctl.bot.interactions.context": ("Context",),
    "botctl.core.config.settings": ("Settings",),
    "botctl.core.contracts.event_log": ("EventLog",),
    "botctl.core.contracts.events": (
        "AutocompleteAnswered",
        "CommandFinished",
        "CommandStarted",
        "DrainStarted",
        "Event",
        "EventsLost",
        "GatewayChanged",
        "GuildSettingsChanged",
        "HealthChanged",
        "JobFinished",
        "JobStarted",
        "KeyCreated",
        "KeyRevoked",
        "MigrationApplied",
        "MigrationFailed",
        "RunEnding",
        "RunStarted",
        "ServiceChanged",
        "StoreRestarted",
    ),
    "botctl.core.contracts.health": ("Diagnosis", "Health", "HealthSource"),
    "botctl.core.contracts.jobs": ("JobRun", "job"),
    "botctl.core.contracts.protocols": ("GuildSettingsStore", "StatusSource"),
    "botctl.core.contracts.service_state": ("ServiceHealth", "ServiceStatus"),
    "botctl.core.contracts.shards": ("ShardStatus",),
    "botctl.core.errors": ("UsageError",),
}
_MODULE_OF = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}
__all__ = sorted(_MODULE_OF)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)

"""Services of `botctl monitor`."""

from __future__ import annotations

from functools import partial

from botctl.core.config.loading import Loaded
from botctl.core.files.disk import full_disk
from botctl.core.processes.runtime import Runtime
from botctl.monitor.health_client import hear_processes
from botctl.monitor.reader import Monitor
from botctl.stores.redis import running_redis


def build_monitor(loaded: Loaded) -> Monitor:
    """A reader of the snapshots of the bot's processes. It starts no store."""
    runtime = Runtime(loaded.root)
    return Monitor(
        loaded.settings.bot,
        partial(running_redis, loaded.settings, runtime),
        runtime.runs,
        partial(hear_processes, runtime),
        partial(full_disk, loaded.root),
        expected=loaded.settings.health.roles,
    )

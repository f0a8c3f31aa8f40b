"""What `botctl monitor` works with."""

from __future__ import annotations

from functools import partial

from botctl.core.config.loading import Loaded
from botctl.core.processes.runtime import Runtime
from botctl.monitor.reader import Monitor
from botctl.stores.redis import running_redis


def monitor(loaded: Loaded) -> Monitor:
    """What looks at the processes of the bot from outside. It starts nothing."""
    return Monitor(loaded.settings.bot, partial(running_redis, loaded.settings, Runtime(loaded.root)))

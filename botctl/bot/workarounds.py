"""Cures for faults of disnake 2.12.2. Each says when it may go. Nothing else of disnake is changed."""

from __future__ import annotations

import time
from typing import Any
from weakref import WeakValueDictionary

from disnake.gateway import KeepAliveHandler
from disnake.webhook.async_ import async_context


def cure_webhook_locks() -> None:
    """Let the locks of answered interactions go.

    disnake keeps one lock per (interaction, token) for ever (webhook/async_.py, AsyncWebhookAdapter._locks): about
    0.45 kB for each interaction. A weak dictionary keeps a lock exactly as long as a request holds it. It may go when
    disnake prunes them; tests/unit/bot/test_cures.py fails without it.
    """
    async_context.get()._locks = WeakValueDictionary()  # type: ignore[assignment]  # noqa: SLF001


def cure_heartbeat_clock() -> None:
    """Let the latency of the gateway begin when the heartbeat is sent.

    disnake notes that moment after the sending thread has come back (gateway.py, KeepAliveHandler.run). An answer that
    arrives first is measured from the heartbeat before: 41 s of latency, and a warning in the log. It may go when
    disnake notes it before; tests/unit/bot/test_cures.py fails without it.
    """
    KeepAliveHandler.get_payload = _stamped  # type: ignore[method-assign]


def _stamped(self: KeepAliveHandler, _make: Any = KeepAliveHandler.get_payload) -> Any:
    self._last_send = time.perf_counter()
    return _make(self)

"""Workarounds for faults of disnake 2.12.2. Each says when it can be removed."""

from __future__ import annotations

import time
from typing import Any
from weakref import WeakValueDictionary

from disnake.gateway import KeepAliveHandler
from disnake.webhook.async_ import async_context


def fix_webhook_locks() -> None:
    """Free the locks of answered interactions.

    disnake keeps one per (interaction, token) for ever (webhook/async_.py, AsyncWebhookAdapter._locks): 0.45 kB each. A
    weak dictionary keeps a lock while a request holds it. Remove this when disnake does so, see test_workarounds.py.
    """
    async_context.get()._locks = WeakValueDictionary()  # type: ignore[assignment]  # noqa: SLF001


def fix_heartbeat_latency() -> None:
    """Measure the gateway's latency from the moment when the heartbeat is sent.

    disnake stores that moment after sending (gateway.py, KeepAliveHandler.run). An answer that comes before is measured
    from the previous heartbeat, 41 s ago. Remove this when disnake stores it before sending, see test_workarounds.py.
    """
    KeepAliveHandler.get_payload = _get_stamped_payload  # type: ignore[method-assign]


def _get_stamped_payload(self: KeepAliveHandler, _make: Any = KeepAliveHandler.get_payload) -> Any:
    """Store the moment, and return the heartbeat."""
    self._last_send = time.perf_counter()
    return _make(self)

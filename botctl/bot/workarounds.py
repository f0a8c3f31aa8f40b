"""Workarounds for faults of disnake 2.12.2. Each says when it can be removed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakValueDictionary

from disnake.gateway import KeepAliveHandler
from disnake.http import Route
from disnake.webhook.async_ import async_context

_FOLLOW_UP: Final = ("POST", "/webhooks/{webhook_id}/{webhook_token}")
_ORIGINAL: Final = "/webhooks/{webhook_id}/{webhook_token}/messages/@original"


def fix_webhook_locks() -> None:
    """Free the locks of answered interactions.

    disnake keeps one per (interaction, token) for ever (webhook/async_.py, AsyncWebhookAdapter._locks): 0.45 kB each. A
    weak dictionary keeps a lock while a request holds it. Remove this when disnake does so, see test_workarounds.py.
    """
    async_context.get()._locks = WeakValueDictionary()  # type: ignore[assignment]  # noqa: SLF001


@contextmanager
def follow_ups_observed(heard: Callable[[str], None]) -> Iterator[None]:
    """Call ``heard`` while the block runs, with the token of an interaction that got an answer after a deferral.

    disnake tells no one (only the first answer is in ``InteractionResponse``), so its adapter for webhooks is wrapped.
    Remove this when an interaction knows its follow-ups, see test_workarounds.py.
    """
    adapter = async_context.get()
    request = adapter.request

    async def observed(route: Route, *args: Any, **options: Any) -> Any:
        answer = await request(route, *args, **options)
        if route.webhook_token is not None and _answers_deferral(route):
            heard(route.webhook_token)
        return answer

    adapter.request = observed  # type: ignore[method-assign]
    try:
        yield
    finally:
        adapter.request = request  # type: ignore[method-assign]


def _answers_deferral(route: Route) -> bool:
    return (route.method, route.path) == _FOLLOW_UP or (route.path == _ORIGINAL and route.method != "GET")


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

"""Workarounds for faults of disnake 2.12.2. Each says when it can be removed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakValueDictionary

from disnake.ext import tasks
from disnake.gateway import KeepAliveHandler
from disnake.http import Route
from disnake.webhook.async_ import async_context

from botctl.core.errors import ANYTHING
from botctl.core.own_tasks import is_own_cancellation

_FOLLOW_UP: Final = ("POST", "/webhooks/{webhook_id}/{webhook_token}")
_ORIGINAL: Final = "/webhooks/{webhook_id}/{webhook_token}/messages/@original"
_log = logging.getLogger(__name__)


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


def fix_silent_loops() -> None:
    """Log what ends a loop of ``disnake.ext.tasks`` and is no Exception: SystemExit, a panic of an extension.

    disnake handles only Exceptions (ext/tasks/__init__.py, Loop._loop). Remove this when it does, see
    test_workarounds.py.
    """
    tasks.Loop._loop = _run_loop  # type: ignore[method-assign]  # noqa: SLF001


async def _run_loop(self: Any, *args: Any, _run: Any = tasks.Loop._loop, **kwargs: Any) -> None:  # noqa: SLF001
    try:
        await _run(self, *args, **kwargs)
    except ANYTHING as error:
        if isinstance(error, Exception) or is_own_cancellation(error):
            raise
        _log.error("the loop %s has ended", self.coro.__qualname__, exc_info=error)


def _get_stamped_payload(self: KeepAliveHandler, _make: Any = KeepAliveHandler.get_payload) -> Any:
    """Store the moment, and return the heartbeat."""
    self._last_send = time.perf_counter()
    return _make(self)

"""Tasks of which no one awaits the result, and cancellations: ours, or raised by an operator's code."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_log = logging.getLogger(__name__)


def is_own_cancellation(error: BaseException) -> bool:
    """Whether ``error`` is a cancellation that someone requested of the current task (`asyncio.Task.cancel`).

    A CancelledError that code raises by itself, or gets from a task that it awaits, is a failure like any other.
    """
    if not isinstance(error, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def create_watched_task(work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    """`asyncio.create_task` for a task whose result no one reads: whatever it raises is logged at once."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_log_failure)
    return task


async def end_task(task: asyncio.Task[Any]) -> None:
    """Cancel ``task``, and wait for it; its error is another's to raise."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


def _log_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("the task %s failed", task.get_name(), exc_info=error)

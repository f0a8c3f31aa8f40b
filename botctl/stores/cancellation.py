"""Replace `asyncio.wait_for` of Python 3.11 by the one of 3.12.

The drivers of Redis and MongoDB call it for each command.

The one of 3.11 loses a cancellation that arrives together with the result
(https://github.com/python/cpython/issues/86296). Then Ctrl-C or a time limit has no effect, and a background task runs
on. It is replaced for the whole process, because the drivers call it directly.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from types import ModuleType
from typing import Final, TypeVar

_Result = TypeVar("_Result")
_ORIGINAL: Final = asyncio.wait_for


async def wait_for(fut: Awaitable[_Result], timeout: float | None) -> _Result:  # noqa: ASYNC109  as in asyncio
    """Await ``fut`` for at most ``timeout`` seconds, then cancel it and raise TimeoutError."""
    if timeout is not None and timeout <= 0:
        return await _ORIGINAL(fut, timeout)  # returns at once
    async with asyncio.timeout(timeout):
        return await fut


def keep_cancellations(*modules: ModuleType) -> None:
    """Replace `asyncio.wait_for` in Python before 3.12, in asyncio and in ``modules``, which import it by name."""
    if sys.version_info < (3, 12):
        for module in (asyncio, *modules):
            module.wait_for = wait_for  # type: ignore[attr-defined]

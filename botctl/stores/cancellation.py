"""`asyncio.wait_for` of Python 3.12, for 3.11: both drivers send every command with it.

The one of 3.11 loses a cancellation that comes in the moment the result is there: it returns the result
(https://github.com/python/cpython/issues/86296). Then Ctrl-C or a time limit does nothing, and a background task goes
on. It is replaced for the whole process: the drivers call it as `asyncio.wait_for`, and take no other.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from types import ModuleType
from typing import Final, TypeVar

_Result = TypeVar("_Result")
_OLD: Final = asyncio.wait_for


async def wait_for(work: Awaitable[_Result], timeout: float | None) -> _Result:  # noqa: ASYNC109  as in asyncio
    """What ``work`` returns, within ``timeout`` seconds.

    Raises:
        TimeoutError: it takes longer; it is cancelled.
    """
    if timeout is not None and timeout <= 0:
        return await _OLD(work, timeout)  # it does not wait
    async with asyncio.timeout(timeout):
        return await work


def keep_cancellations(*modules: ModuleType) -> None:
    """Replace it, where Python is older than 3.12; ``modules`` have imported it by name."""
    if sys.version_info < (3, 12):
        for module in (asyncio, *modules):
            module.wait_for = wait_for  # type: ignore[attr-defined]

"""Run the checks: all at the same time, each within its own limit, and none stops another one."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from botctl.core.errors import ANYTHING, BotctlError
from botctl.core.escape import safe
from botctl.core.event_loop.timeout import LoopTimeout
from botctl.core.redact import redact
from botctl.doctor.finding import Finding, fault, unknown

T = TypeVar("T")

LIMIT_S: Final = 10.0
"""How long a check may take that sets no other limit."""


@dataclass(frozen=True, slots=True)
class Check:
    """``examine`` gathers the evidence and returns the findings. ``when_late``: what to do if it takes ``limit_s``."""

    name: str
    examine: Callable[[], Awaitable[Sequence[Finding]]]
    limit_s: float = LIMIT_S
    when_late: str = "Try again; the machine may be busy."


async def run_checks(checks: Sequence[Check]) -> list[Finding]:
    """Run ``checks`` concurrently; return their findings in the order of the checks. Raises nothing of theirs."""
    found = await asyncio.gather(*map(_run, checks))
    return [finding for findings in found for finding in findings]


async def _run(check: Check) -> Sequence[Finding]:
    try:
        async with LoopTimeout(check.limit_s):
            return await _examine(check)
    except TimeoutError:
        return [fault(check.name, f"no answer within {check.limit_s:g} s", check.when_late)]


async def _examine(check: Check) -> Sequence[Finding]:
    try:
        return await check.examine()
    except BotctlError as error:
        return [fault(check.name, redact(str(error)), redact(error.hint) or "See docs/exit-codes.md.")]
    except OSError as error:
        return [unknown(check.name, f"cannot be examined: {safe(redact(str(error))) or type(error).__name__}")]
    except Exception as error:  # noqa: BLE001  a check that fails is a finding, and the others go on
        text = f"{type(error).__name__}: {safe(redact(str(error)))}"
        return [unknown(check.name, f"the check itself failed, which is a bug in botctl: {text}")]


async def in_own_thread(function: Callable[[], T]) -> T:
    """Call ``function``, which may block, in a thread that no one waits for once the caller was cancelled.

    The threads of `asyncio.to_thread` would keep the process from ending: a hung disk answers never.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def call() -> None:
        result, raised = None, None
        try:
            result = function()
        except ANYTHING as error:  # an author's file may raise anything
            raised = error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")
        with contextlib.suppress(RuntimeError):  # the loop is closed: the caller has given up
            loop.call_soon_threadsafe(settle, result, raised)

    threading.Thread(target=call, name="doctor", daemon=True).start()
    return await future

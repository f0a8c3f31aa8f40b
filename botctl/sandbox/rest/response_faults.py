"""REST on a bad day: answers that are late, slow, or from a clock that is ahead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate

from aiohttp import web

from botctl.sandbox.model.faults import Faults

_RESET = "X-RateLimit-Reset"
_PIECES = 10  # that a body comes in when it drips


async def through(
    trouble: Faults, request: web.Request, answer: Callable[[web.Request], Awaitable[web.Response]]
) -> web.StreamResponse:
    """What ``request`` is answered while there is ``trouble`` on the way."""
    if late_s := trouble.latency_s():
        await asyncio.sleep(late_s)
    response = await answer(request)
    if trouble.skew_s:
        response.headers["Date"] = formatdate(time.time() + trouble.skew_s, usegmt=True)
        if (reset := response.headers.get(_RESET)) is not None:
            response.headers[_RESET] = f"{float(reset) + trouble.skew_s:.3f}"
    return await _drip(trouble.drip_s, request, response) if trouble.drip_s else response


async def _drip(over_s: float, request: web.Request, whole: web.Response) -> web.StreamResponse:
    body = whole.body if isinstance(whole.body, bytes) else b""
    slow = web.StreamResponse(status=whole.status, headers=whole.headers)
    slow.content_length = len(body)
    await slow.prepare(request)
    step = max(len(body) // _PIECES, 1)
    for start in range(0, len(body), step):
        await asyncio.sleep(over_s / _PIECES)
        await slow.write(body[start : start + step])
    await slow.write_eof()
    return slow

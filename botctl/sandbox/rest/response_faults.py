"""Delays, slow bodies and clock skew in REST responses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate

from aiohttp import web

from botctl.sandbox.model.faults import Faults

_RESET = "X-RateLimit-Reset"
_CHUNKS = 10  # of a slow body


async def apply_faults(
    faults: Faults, request: web.Request, answer: Callable[[web.Request], Awaitable[web.Response]]
) -> web.StreamResponse:
    """Answer ``request`` with ``answer``, and apply ``faults`` to the response."""
    if late_s := faults.latency_s():
        await asyncio.sleep(late_s)
    response = await answer(request)
    if faults.skew_s:
        response.headers["Date"] = formatdate(time.time() + faults.skew_s, usegmt=True)
        if (reset := response.headers.get(_RESET)) is not None:
            response.headers[_RESET] = f"{float(reset) + faults.skew_s:.3f}"
    return await _send_slowly(faults.drip_s, request, response) if faults.drip_s else response


async def _send_slowly(over_s: float, request: web.Request, response: web.Response) -> web.StreamResponse:
    body = response.body if isinstance(response.body, bytes) else b""
    slow = web.StreamResponse(status=response.status, headers=response.headers)
    slow.content_length = len(body)
    await slow.prepare(request)
    step = max(len(body) // _CHUNKS, 1)
    for start in range(0, len(body), step):
        await asyncio.sleep(over_s / _CHUNKS)
        await slow.write(body[start : start + step])
    await slow.write_eof()
    return slow

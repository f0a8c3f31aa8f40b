"""Applies simulated failures to REST responses: delays, slow bodies, a wrong clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate

from aiohttp import web

from botctl.sandbox.model.faults import Faults

_RESET_HEADER = "X-RateLimit-Reset"
_CHUNKS = 10  # of a slow body


async def apply_faults(
    faults: Faults, request: web.Request, handler: Callable[[web.Request], Awaitable[web.Response]]
) -> web.StreamResponse:
    """The response of ``handler`` to ``request``, with ``faults`` applied."""
    if delay_s := faults.latency_s():
        await asyncio.sleep(delay_s)
    response = await handler(request)
    if faults.skew_s:
        response.headers["Date"] = formatdate(time.time() + faults.skew_s, usegmt=True)
        if (reset := response.headers.get(_RESET_HEADER)) is not None:
            response.headers[_RESET_HEADER] = f"{float(reset) + faults.skew_s:.3f}"
    return await _send_slowly(faults.body_duration_s, request, response) if faults.body_duration_s else response


async def _send_slowly(duration_s: float, request: web.Request, response: web.Response) -> web.StreamResponse:
    body = response.body if isinstance(response.body, bytes) else b""
    slow = web.StreamResponse(status=response.status, headers=response.headers)
    slow.content_length = len(body)
    await slow.prepare(request)
    step = max(len(body) // _CHUNKS, 1)
    for start in range(0, len(body), step):
        await asyncio.sleep(duration_s / _CHUNKS)
        await slow.write(body[start : start + step])
    await slow.write_eof()
    return slow

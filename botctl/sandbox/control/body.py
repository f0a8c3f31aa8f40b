"""The arguments of a control API request: the query of a GET, or the JSON body."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from botctl.core.errors import UsageError
from botctl.sandbox.model.compact_json import loads

Json = dict[str, Any]


async def read(request: web.Request) -> Json:
    if request.method == "GET":
        return dict(request.query)
    try:
        body = loads(await request.read() or b"{}")
    except (ValueError, RecursionError):
        raise UsageError("The body is not JSON.") from None
    if not isinstance(body, dict):
        raise UsageError("The body must be a JSON object.")
    return body


def read_number(body: Json, name: str, default: float) -> float:
    value = body.get(name)
    try:
        return default if value is None else float(value)
    except (TypeError, ValueError):
        raise UsageError(f"“{name}” must be a number.") from None

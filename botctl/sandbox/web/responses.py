"""HTTP responses in Discord's form."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from botctl.sandbox.model.compact_json import dumps
from botctl.sandbox.model.faults import VIA, EdgeResponse

# Exactly this type, without a charset: clients compare it as a string.
_HEADERS = {"Content-Type": "application/json", "Via": VIA}


def json_response(status: int, data: Any) -> web.Response:
    if data is None:
        return web.Response(status=204, headers={"Via": VIA})
    return web.Response(status=status, body=dumps(data).encode(), headers=_HEADERS)


def edge_response(edge: EdgeResponse) -> web.Response:
    """A response of the edge: Cloudflare, in front of Discord."""
    return web.Response(status=edge.status, body=edge.body, headers=edge.headers)

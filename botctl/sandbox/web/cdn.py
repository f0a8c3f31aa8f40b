"""Attachments over HTTP, as Discord's CDN has them.

Their type comes from the one who uploaded them, and a browser would run a page or a script at the sandbox's address. So
only types that a browser shows without running them keep their name; all others are for saving.
"""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import quote

from aiohttp import web

from botctl.sandbox.model.faults import VIA
from botctl.sandbox.web.keys import SANDBOX

_SHOWN: Final = frozenset(
    {
        *("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"),
        *("audio/mpeg", "audio/ogg", "audio/wav", "audio/flac", "audio/mp4"),
        *("video/mp4", "video/webm", "video/quicktime", "video/ogg"),
        "application/json",
    }
)
_TEXT: Final = "text/plain; charset=utf-8"
_BYTES: Final = "application/octet-stream"


async def send_attachment(request: web.Request) -> web.Response:
    attachment = await asyncio.to_thread(request.app[SANDBOX].files.get, request.match_info["attachment"])
    if attachment is None:
        return web.Response(status=404)
    kind, data = attachment
    return web.Response(body=data, headers=safe_headers(kind, request.match_info["name"]))


def safe_headers(kind: str, name: str) -> dict[str, str]:
    """The headers of a file ``name`` that was uploaded with the content type ``kind``."""
    main_type = kind.partition(";")[0].strip().lower()
    shown = main_type if main_type in _SHOWN else _TEXT if main_type.startswith("text/") else _BYTES
    disposition = "attachment" if shown == _BYTES else "inline"
    return {
        "Content-Type": shown,
        "Content-Disposition": f"{disposition}; filename*=UTF-8''{quote(name.encode('utf-8', 'replace'), safe='')}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
        "Via": VIA,
    }

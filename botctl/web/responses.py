"""The one way out of the web server: JSON, pages and errors, with secrets removed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape
from typing import Any, Final

from aiohttp import web

from botctl.core.redact import redact_values

_JSON: Final = "application/json"
_NO_STORE: Final = {"Cache-Control": "no-store"}
_LOGO: Final = '<img src="/static/icon.svg" alt="" width="44" height="44">'
_COMMAND: Final = re.compile(r"`([^`]+)`")
_CODES: Final = {
    400: "bad request",
    401: "not signed in",
    403: "forbidden",
    404: "not found",
    405: "method not allowed",
    408: "timeout",
    409: "conflict",
    413: "too large",
    421: "wrong host",
    429: "throttled",
    500: "failed",
    503: "unavailable",
}


class RequestRefused(Exception):
    """A request that is refused: the status, a sentence for the person, and headers."""

    def __init__(self, status: int, sentence: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = headers or {}


def json_response(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """``value`` as JSON."""
    body = redact_values(json.dumps(value, separators=(",", ":"), ensure_ascii=False)).encode("utf-8", "replace")
    return web.Response(body=body, status=status, content_type=_JSON, headers={**_NO_STORE, **(headers or {})})


def json_error(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """What the API says when it refuses or fails."""
    return json_response({"error": _CODES.get(status, "failed"), "message": sentence}, status=status, headers=headers)


def page(
    title: str, sentence: str, *, status: int = 200, form: str = "", link: tuple[str, str] = ("", "")
) -> web.Response:
    """A plain page. ``form``: where its one button posts to. ``link``: an address and its text."""
    submit = '<button class="primary">Sign in</button>'
    button = f'<form method="post" action="{_text(form)}">{submit}</form>' if form else ""
    anchor = f'<a class="primary" href="{_text(link[0])}">{_text(link[1])}</a>' if link[0] else ""
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<title>{_text(title)}</title><link rel="stylesheet" href="/static/app.css"></head>'
        f'<body class="plain"><main class="sign-in">{_LOGO}<h1>{_text(title)}</h1><p>{_prose(sentence)}</p>'
        f"{button}{anchor}</main></body></html>"
    )
    body = text.encode("utf-8", "replace")
    return web.Response(body=body, status=status, content_type="text/html", charset="utf-8", headers=_NO_STORE)


def _text(text: str) -> str:
    """``text`` for HTML; secrets are removed first, since escaping hides them."""
    return escape(redact_values(text))


def _prose(sentence: str) -> str:
    """A sentence in which commands stand between backticks, for HTML."""
    return _COMMAND.sub(r"<code>\1</code>", _text(sentence))


def redirect(location: str, *, status: int = 302) -> web.Response:
    """A redirect to ``location``, which the caller has checked."""
    return web.Response(status=status, headers={"Location": location, **_NO_STORE})

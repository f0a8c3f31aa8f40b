"""The headers of attachments: a browser runs none of them."""

from __future__ import annotations

import pytest

from botctl.sandbox.web.cdn import safe_headers


@pytest.mark.parametrize(
    ("uploaded", "sent", "disposition"),
    [
        ("image/png", "image/png", "inline"),
        ("IMAGE/PNG; x=1", "image/png", "inline"),
        ("text/csv", "text/plain; charset=utf-8", "inline"),
        ("text/html; charset=utf-8", "text/plain; charset=utf-8", "inline"),
        ("Text/HTML", "text/plain; charset=utf-8", "inline"),
        ("application/xhtml+xml", "application/octet-stream", "attachment"),
        ("image/svg+xml", "application/octet-stream", "attachment"),
        ("application/javascript", "application/octet-stream", "attachment"),
        ("multipart/x-mixed-replace", "application/octet-stream", "attachment"),
        ("\r\nSet-Cookie: a=b", "application/octet-stream", "attachment"),
        ("", "application/octet-stream", "attachment"),
    ],
)
def test_attachment_is_never_sent_as_a_page(uploaded: str, sent: str, disposition: str) -> None:
    headers = safe_headers(uploaded, "a.html")
    assert headers["Content-Type"] == sent
    assert headers["Content-Disposition"] == f"{disposition}; filename*=UTF-8''a.html"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", ['a"; x=\r\n.html', "ä/\udcff", "…"])
def test_name_of_an_attachment_cannot_add_a_header(name: str) -> None:
    disposition = safe_headers("image/png", name)["Content-Disposition"]
    assert disposition.isascii()
    assert not set('"\r\n; ') & set(disposition.removeprefix("inline; "))

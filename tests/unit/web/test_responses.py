"""Pages and JSON: text from outside stays text."""

from __future__ import annotations

import json

from botctl.web.responses import json_error, json_response, page

ATTACK = "<script>alert('1')</script>\"&"


def test_page_shows_text_as_text() -> None:
    text = bytes(page(ATTACK, ATTACK, form=f'/x"{ATTACK}', link=(ATTACK, ATTACK)).body).decode()  # type: ignore[arg-type]
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;&quot;&amp;") == 6
    assert text.count('"') == text.replace("&quot;", "").count('"')


def test_json_is_json_whatever_is_in_it() -> None:
    value = {"text": ATTACK, "half": "\ud800", "line": "\u2028"}
    response = json_response(value)
    assert json.loads(bytes(response.body)) == value | {"half": "?"}  # type: ignore[arg-type]
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"


def test_error_has_a_code_and_a_sentence() -> None:
    response = json_error(403, "No.")
    assert json.loads(bytes(response.body)) == {"error": "forbidden", "message": "No."}  # type: ignore[arg-type]

"""Which bodies of a request are accepted."""

from __future__ import annotations

from typing import Any

import pytest

from botctl.web.requests import MAX_BODY_BYTES, json_body
from botctl.web.responses import RequestRefused


class FakeRequest:
    content_type = "application/json"
    can_read_body = True

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        return self._body


async def test_body_is_an_object() -> None:
    request: Any = FakeRequest(b'{"a": [1]}')
    assert await json_body(request) == {"a": [1]}
    request = FakeRequest(b"")
    assert await json_body(request) == {}


@pytest.mark.parametrize(
    "body",
    [b"x", b"[]", b"\xff", b"[" * MAX_BODY_BYTES, b'{"a":' * (MAX_BODY_BYTES // 5), b"1" * 5_000],
    ids=["no JSON", "a list", "no UTF-8", "many lists", "many objects", "many digits"],
)
async def test_other_bodies_are_rejected(body: bytes) -> None:
    request: Any = FakeRequest(body)
    with pytest.raises(RequestRefused) as error:
        await json_body(request)
    assert error.value.status == 400

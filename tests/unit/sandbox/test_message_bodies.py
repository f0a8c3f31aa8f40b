"""Whatever a body says, a message is made of it or it is refused; the message is as Discord describes one."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from botctl.sandbox import messages, payloads
from botctl.sandbox.default_world import default_world
from botctl.sandbox.refusal import Refusal
from tests.support import openapi
from tests.support.calls import MESSAGE
from tests.support.discord import ANN, GENERAL, GUILD
from tests.support.message_calls import V2

_ODD = [None, True, 0, -1, 2**70, 1.5, "", "x", "x" * 5000, "2026-01-01", [], {}, [[]], [None, 1, {}]]
_ODD += [{"url": "https://a.b"}, {"type": 1}, [{"type": 2}]]
_KEYS = "components accessory items id custom_id media file label options emoji provider sku_id url default_values"
_WORLD = default_world()
_Change = tuple[int, Any, str | None]  # where, what, and the key that comes to an object there


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every object or list in ``value`` with each of its keys."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def changed(body: Any, changes: list[_Change]) -> Any:
    body = copy.deepcopy(body)
    for where, odd, key in changes:
        there = list(places(body))
        if there:
            parent, own = there[where % len(there)]
            parent[key if key and isinstance(parent, dict) else own] = copy.deepcopy(odd)
    return body


_CHANGE = st.tuples(st.integers(0, 99), st.sampled_from(_ODD), st.none() | st.sampled_from(_KEYS.split()))


@settings(max_examples=300)
@given(st.sampled_from([V2, MESSAGE]), st.lists(_CHANGE, max_size=2))
def test_a_body_is_a_message_or_refused(good: Any, changes: list[_Change]) -> None:
    body = changed(good, changes)
    before = copy.deepcopy(body)
    with contextlib.suppress(Refusal):
        made = messages.draft(body, [], _WORLD)
        given = {"channel_id": GENERAL, "guild_id": GUILD, "author_id": ANN}
        message = messages.create(_WORLD, made, **given, flags=made.flags & messages.SETTABLE)
        shown = payloads.message(message, _WORLD)
        path = f"/channels/{GENERAL}/messages"
        assert not openapi.find() or openapi.description().faults("POST", path, 200, shown) == []
    assert body == before

"""Any body becomes a message that matches Discord's description, or an ApiError."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from botctl.sandbox.model import payloads
from botctl.sandbox.model.api_error import ApiError
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.model.messages import drafts
from tests.support import openapi
from tests.support.calls import MESSAGE
from tests.support.discord import ANN, GENERAL, GUILD
from tests.support.message_calls import V2

_ODD = [None, True, -1, 2**70, 1.5, "", "x", [], {}, [None, 1, {}], {"url": "https://a.b"}]
_KEYS = "components accessory items id custom_id media file label options emoji provider sku_id url default_values"
_WORLD = default_world()


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in ``value``."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*path, key)
        yield from paths(value[key], (*path, key))


def mutated_bodies(valid: Any) -> Iterator[Any]:
    """``valid`` with one wrong value: instead of each value, and under each further key of each object."""
    own = list(paths(valid))
    inside = {(*path[:-1], key) for path in own if isinstance(path[-1], str) for key in _KEYS.split()}
    for path in {*own, *inside}:
        for odd in _ODD:
            body = json.loads(json.dumps(valid))
            parent = body
            for key in path[:-1]:
                parent = parent[key]
            parent[path[-1]] = odd
            yield body


@pytest.mark.parametrize("valid", [V2, MESSAGE], ids=["version 2", "embeds"])
def test_any_body_is_a_message_or_an_api_error(valid: Any) -> None:
    created = 0
    for body in mutated_bodies(valid):
        before = json.dumps(body)
        with contextlib.suppress(ApiError):
            draft = drafts.parse_body(body, [], _WORLD)
            fields = {"channel_id": GENERAL, "guild_id": GUILD, "author_id": ANN}
            message = drafts.create(_WORLD, draft, **fields, flags=draft.flags & drafts.SETTABLE)
            payload = payloads.message(message, _WORLD)
            path = f"/channels/{GENERAL}/messages"
            assert not openapi.find() or openapi.description().mismatches("POST", path, 200, payload) == [], body
            created += 1
        assert json.dumps(body) == before
    assert created > 100

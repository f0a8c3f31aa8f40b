"""Any request body is accepted or causes an ApiError; no other exception."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.sandbox.model import interactions, payloads
from botctl.sandbox.model.api_error import ApiError, FormErrors
from botctl.sandbox.model.commands import registration
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.model.interactions import InteractionStore
from botctl.sandbox.model.limiter import RateLimiter
from botctl.sandbox.model.limits import Limits
from botctl.sandbox.model.messages import components, drafts
from botctl.sandbox.model.world import World
from tests.support.discord import ANN, BOT, GENERAL, GUILD

_KEYS = [
    "name",
    "type",
    "description",
    "options",
    "choices",
    "value",
    "content",
    "embeds",
    "components",
    "attachments",
    "flags",
    "custom_id",
    "title",
    "id",
    "required",
    "fields",
    "url",
    "image",
    "label",
    "component",
    "accessory",
    "default_member_permissions",
    "autocomplete",
    "channel_types",
]
_LEAVES = st.none() | st.booleans() | st.integers(-1, 20) | st.floats() | st.sampled_from(["", "x", "go", "x" * 101])
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=5)
)
bodies = st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=6)


@given(bodies)
def test_any_message_body_is_accepted_or_an_api_error(body: dict[str, Any]) -> None:
    world = default_world()
    with contextlib.suppress(ApiError):
        draft = drafts.parse_body(body, [], world)
        message = drafts.create(world, draft, channel_id=GENERAL, guild_id=GUILD, author_id=ANN)
        components.clickable(message.components)
        json.dumps(payloads.message_event(message, world))


@given(bodies)
def test_any_command_body_is_accepted_or_an_api_error(body: dict[str, Any]) -> None:
    world = World()
    app = default_world().applications[BOT]
    with contextlib.suppress(ApiError):
        for stored in registration.overwrite(world, app, "", [{"name": "a", "description": "b", **body}, body]):
            json.dumps(stored)


@given(bodies)
def test_any_modal_or_choices_are_accepted_or_an_api_error(body: dict[str, Any]) -> None:
    world, book = default_world(), InteractionStore(RateLimiter(Limits()))
    fields = {"application_id": BOT, "user_id": ANN, "guild_id": GUILD, "channel_id": GENERAL, "name": "x"}
    interaction = book.open(world, interactions.COMMAND, **fields)
    with contextlib.suppress(ApiError):
        interactions.open_modal(interaction, {"title": "T", "custom_id": "c", **body})
        components.modal_fields(body["components"])
    with contextlib.suppress(ApiError):
        interactions.offer_choices(interaction, body)


@pytest.mark.parametrize(
    ("kind", "value", "right"),
    [(int, 1, True), (int, True, False), (bool, True, True), (str, 1, False), (list, {}, False), (dict, {}, True)],
)
def test_form_field_must_have_its_type(kind: type, value: Any, right: bool) -> None:
    errors = FormErrors()
    value_read = errors.field(("data",), {"x": value}, "x", kind)
    assert (value_read == value, errors.tree == {}) == (right, right)
    if not right:
        with pytest.raises(ApiError) as error:
            errors.check()
        assert error.value.body()["errors"]["data"]["x"]["_errors"][0]["message"]

"""Components of messages: their positions and fields."""

from __future__ import annotations

from typing import Any

import pytest

from botctl.sandbox.model.api_error import ApiError, FormErrors
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.model.messages import component_schema, drafts
from botctl.sandbox.model.messages.components import V2
from botctl.sandbox.model.world import Message, World

BUTTON = {"type": 2, "style": 1, "label": "B", "custom_id": "b"}
SELECT = {"type": 3, "custom_id": "s", "options": [{"label": "A", "value": "a"}]}
TEXT = {"type": 10, "content": "text"}
PICTURE = {"type": 11, "media": {"url": "https://example.org/a.png"}}


def row(*inner: Any) -> dict[str, Any]:
    return {"type": 1, "components": list(inner)}


def codes(node: Any) -> list[str]:
    """All codes of an error tree."""
    if isinstance(node, list):
        return [error["code"] for error in node]
    return [code for child in node.values() for code in codes(child)]


def error_codes(components: list[Any], *, v2: bool) -> list[str]:
    errors = FormErrors()
    component_schema.parse_components({"components": components}, errors, v2=v2)
    return codes(errors.tree)


@pytest.mark.parametrize(
    ("listed", "code"),
    [
        ([BUTTON], "UNION_TYPE_CHOICES"),
        ([TEXT], "UNION_TYPE_CHOICES"),
        ([row()], "BASE_TYPE_BAD_LENGTH"),
        ([{"type": 1}], "BASE_TYPE_REQUIRED"),
        ([{"components": []}], "NUMBER_TYPE_COERCE"),
        ([row(*({**BUTTON, "custom_id": str(n)} for n in range(6)))], "BASE_TYPE_BAD_LENGTH"),
        ([row({**BUTTON, "custom_id": str(n)}) for n in range(6)], "BASE_TYPE_MAX_LENGTH"),
        ([row(BUTTON, SELECT)], "COMPONENT_LAYOUT_WIDTH_EXCEEDED"),
        ([row(BUTTON), row(BUTTON)], "COMPONENT_CUSTOM_ID_DUPLICATED"),
        ([row({"type": 2, "label": "B", "custom_id": "b"})], "BASE_TYPE_REQUIRED"),
        ([row({"type": 2, "style": 1, "label": "B"})], "BASE_TYPE_REQUIRED"),
        ([row({"type": 2, "style": 5, "label": "B"})], "BASE_TYPE_REQUIRED"),
        ([row({**BUTTON, "style": 9})], "NUMBER_TYPE_MAX"),
        ([row({**BUTTON, "label": "x" * 81})], "BASE_TYPE_MAX_LENGTH"),
        ([row({**BUTTON, "custom_id": "x" * 101})], "BASE_TYPE_MAX_LENGTH"),
        ([row({"type": 2, "style": 1, "custom_id": "b"})], "BUTTON_COMPONENT_INVALID"),
        (
            [row({"type": 2, "style": 5, "label": "B", "url": "https://x", "custom_id": "b"})],
            "BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE",
        ),
        ([row({**SELECT, "options": []})], "BASE_TYPE_BAD_LENGTH"),
        ([row({**SELECT, "options": SELECT["options"] * 2})], "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED"),
        ([row({**SELECT, "min_values": 2, "max_values": 1})], "SELECT_COMPONENT_MIN_VALUES"),
        ([row({**SELECT, "placeholder": "x" * 151})], "BASE_TYPE_MAX_LENGTH"),
    ],
)
def test_plain_message_refuses_invalid_components(listed: list[Any], code: str) -> None:
    assert error_codes(listed, v2=False) == [code]


@pytest.mark.parametrize(
    ("listed", "code"),
    [
        ([{"type": 17, "components": [{"type": 17, "components": [TEXT]}]}], "UNION_TYPE_CHOICES"),
        ([{"type": 9, "components": [TEXT]}], "BASE_TYPE_REQUIRED"),
        ([{"type": 9, "components": [TEXT] * 4, "accessory": PICTURE}], "BASE_TYPE_BAD_LENGTH"),
        ([{"type": 12, "items": []}], "BASE_TYPE_BAD_LENGTH"),
        ([{"type": 13, "file": {"url": "https://example.org/a"}}], "URL_TYPE_INVALID_SCHEME"),
        ([{"type": 10, "content": ""}], "BASE_TYPE_REQUIRED"),
        ([{"type": 10, "content": "x" * 2001}] * 2, "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED"),
        ([TEXT] * 41, "COMPONENT_MAX_TOTAL_COMPONENTS_EXCEEDED"),
        ([{**TEXT, "id": 1}, {**TEXT, "id": 1}], "COMPONENT_ID_DUPLICATED"),
        ([{"type": 14, "spacing": 3}], "BASE_TYPE_CHOICES"),
        ([PICTURE], "UNION_TYPE_CHOICES"),
    ],
)
def test_v2_message_refuses_invalid_components(listed: list[Any], code: str) -> None:
    assert error_codes(listed, v2=True) == [code]


def test_valid_components_pass() -> None:
    emoji_only = {"type": 2, "style": 2, "emoji": {"name": "👍"}, "custom_id": "e"}
    assert error_codes([row(BUTTON, emoji_only), row(SELECT)], v2=False) == []
    box = {"type": 17, "components": [TEXT, {"type": 9, "components": [TEXT], "accessory": PICTURE}, row(BUTTON)]}
    assert error_codes([TEXT, box, {"type": 14}, {"type": 12, "items": [{"media": PICTURE["media"]}]}], v2=True) == []


def create_message(world: World, body: dict[str, Any]) -> Message:
    draft = drafts.parse_body(body, [], world)
    return drafts.create(world, draft, channel_id="1", guild_id="", author_id="900000000000000101", flags=draft.flags)


@pytest.mark.parametrize("more", [{"content": "x"}, {"embeds": [{"title": "t"}]}])
def test_v2_components_exclude_content_and_stay_v2(more: dict[str, Any]) -> None:
    """For new messages and edits; the flag cannot be removed."""
    world = default_world()
    with pytest.raises(ApiError) as refused:
        drafts.parse_body({"flags": V2, "components": [TEXT], **more}, [], world)
    assert codes(refused.value.errors) == ["MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2"]
    message = create_message(world, {"flags": V2, "components": [TEXT]})
    with pytest.raises(ApiError):
        drafts.parse_body(more, [], world, old=message)
    drafts.edit(world, message, drafts.parse_body({"components": [TEXT], "flags": 0}, [], world, old=message))
    assert message.flags & V2
    plain = create_message(world, more)
    with pytest.raises(ApiError):
        drafts.parse_body({"flags": V2, "components": [TEXT]}, [], world, old=plain)
    cleared = dict.fromkeys(more)
    drafts.edit(world, plain, drafts.parse_body({"flags": V2, "components": [TEXT], **cleared}, [], world, old=plain))
    assert plain.flags & V2


def test_edit_cannot_empty_a_message() -> None:
    world = default_world()
    message = create_message(world, {"content": "x"})
    with pytest.raises(ApiError) as refused:
        drafts.edit(world, message, drafts.parse_body({"content": ""}, [], world, old=message))
    assert (refused.value.code, message.content) == (50006, "x")

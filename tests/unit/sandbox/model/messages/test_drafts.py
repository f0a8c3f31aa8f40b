"""Message bodies, and the use of their components."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from botctl.core.errors import UsageError
from botctl.sandbox.model import payloads
from botctl.sandbox.model.api_error import ApiError
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.model.messages import components, drafts
from botctl.sandbox.model.messages.drafts import Upload
from botctl.sandbox.model.world import Message, World
from tests.support.discord import ANN, GENERAL, GUILD


@pytest.fixture
def world() -> World:
    return default_world(url="http://here")


def post(world: World, body: dict[str, Any], uploads: list[Upload] = []) -> Message:  # noqa: B006
    draft = drafts.parse_body(body, uploads, world)
    return drafts.create(world, draft, channel_id=GENERAL, guild_id=GUILD, author_id=ANN)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 50006),
        ({"content": ""}, 50006),
        ({"content": "x" * 2001}, 50035),
        ({"embeds": [{"title": "t"}] * 11}, 50035),
        ({"embeds": "no"}, 50035),
        ({"components": [{"type": 1, "components": []}] * 6}, 50035),
        ({"components": [1]}, 50035),
    ],
)
def test_invalid_body_is_refused(world: World, body: dict[str, Any], code: int) -> None:
    with pytest.raises(ApiError) as refused:
        post(world, body)
    assert refused.value.code == code
    assert world.messages == {}


def test_edit_changes_only_given_fields(world: World) -> None:
    message = post(world, {"content": "a", "embeds": [{"title": "t"}]})
    drafts.edit(world, message, drafts.parse_body({"content": ""}, [], world, old=message))
    assert (message.content, len(message.embeds)) == ("", 1)


def test_edit_keeps_removes_and_adds_attachments(world: World) -> None:
    files = [Upload("0", "a.txt", "text/plain", b"a"), Upload("1", "b.txt", "text/plain", b"bb")]
    message = post(world, {"attachments": [{"id": "0", "description": "A"}]}, files)
    first, second = message.attachments
    assert (first["description"], second["size"]) == ("A", 2)
    keep = {"attachments": [{"id": second["id"]}, {"id": 0, "filename": "c.txt"}]}
    drafts.edit(world, message, drafts.parse_body(keep, files[:1], world, old=message))
    assert [attachment["filename"] for attachment in message.attachments] == ["b.txt", "c.txt"]
    drafts.edit(world, message, drafts.parse_body({"content": "x"}, files[:1], world, old=message))
    assert len(message.attachments) == 3


def test_mentions_are_resolved(world: World) -> None:
    payload = payloads.message(post(world, {"content": f"<@{ANN}> <@!{ANN}> <@&{GUILD}> <@1> @everyone"}), world)
    assert [mention["id"] for mention in payload["mentions"]] == [ANN]
    assert payload["mention_roles"] == [GUILD]
    assert payload["mention_everyone"]


def test_embed_shows_an_attachment(world: World) -> None:
    body = {"embeds": [{"image": {"url": "attachment://a.png"}}, {"image": {"url": "https://x/y.png"}}]}
    payload = payloads.message(post(world, body, [Upload("0", "a.png", "image/png", b"")]), world)
    assert payload["embeds"][0]["image"]["url"] == payload["attachments"][0]["url"]
    assert payload["embeds"][1]["image"]["url"] == "https://x/y.png"


def test_listing_omits_ephemeral_messages_of_others(world: World) -> None:
    ids = [post(world, {"content": str(number)}).id for number in range(5)]
    world.messages[GENERAL][ids[2]].only_for = ANN

    def contents(viewer: str, limit: int = 9, **fields: str) -> list[str]:
        return [
            message.content for message in drafts.list_messages(world, GENERAL, viewer=viewer, limit=limit, **fields)
        ]

    assert contents("") == ["4", "3", "1", "0"]
    assert contents(ANN, 3) == ["4", "3", "2"]
    assert contents(ANN, 2, before=ids[3]) == ["2", "1"]
    assert contents(ANN, 2, after=ids[0]) == ["2", "1"]


BUTTONS = [
    {
        "type": 17,
        "components": [
            {"type": 1, "components": [{"type": 2, "style": 1, "label": "Yes", "custom_id": "y", "id": 1}]},
            {
                "type": 9,
                "components": [{"type": 10}],
                "accessory": {"type": 2, "style": 5, "label": "Docs", "url": "u"},
            },
        ],
    }
]


def test_nested_components_are_found() -> None:
    assert components.find(BUTTONS, "y")["label"] == components.find(BUTTONS, "YES")["label"] == "Yes"
    with pytest.raises(UsageError) as error:
        components.find(BUTTONS, "no")
    assert error.value.hint == "It has: Yes, Docs."


def test_components_get_unique_ids() -> None:
    numbers = [component["id"] for component in components.walk(components.assign_ids(copy.deepcopy(BUTTONS)))]
    assert sorted(numbers) == list(range(1, 7))


def test_unusable_component_is_explained() -> None:
    yes, docs = components.clickable(BUTTONS)
    assert components.unusable_reason(yes, None) is None
    assert components.unusable_reason({**yes, "disabled": True}, None) == "“Yes” is disabled."
    assert components.unusable_reason(docs, None) == "“Docs” only opens u; the bot is not notified."


def test_select_choices_are_accepted_by_value_or_label() -> None:
    select = {"type": 3, "placeholder": "P", "options": [{"label": "Tea", "value": "t"}]}
    assert components.resolve_choices(select, ["tea", "t"]) == ["t", "t"]
    with pytest.raises(UsageError, match="“P” has no choice “x”"):
        components.resolve_choices(select, ["x"])

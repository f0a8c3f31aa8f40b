"""Mentions of messages, and recognition of emoji."""

from __future__ import annotations

from typing import Any

import pytest

from botctl.sandbox.actions import reactions
from botctl.sandbox.model import permission_bits
from botctl.sandbox.model.api_error import ApiError
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.model.messages import drafts, mentions
from botctl.sandbox.model.world import Emoji, Message, World
from tests.support.discord import ANN, BOB, CAT, GENERAL, GUILD, MODERATOR

CALL = f"<@{ANN}> <@!{BOB}> <@&{MODERATOR}> @everyone <@1> <@&2>"


def create_message(
    world: World, author: str = ANN, default: mentions.AllowedMentions = mentions.ALL_MENTIONS, **body: Any
) -> Message:
    draft = drafts.parse_body({"content": CALL, **body}, [], world, default_mentions=default)
    return drafts.create(world, draft, channel_id=GENERAL, guild_id=GUILD, author_id=author)


def mentions_of(message: Message) -> tuple[list[str], list[str], bool]:
    return message.mentions, message.mention_roles, message.mention_everyone


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (None, ([ANN, BOB], [MODERATOR], True)),
        ({}, ([], [], False)),
        ({"parse": ["users"]}, ([ANN, BOB], [], False)),
        ({"parse": ["roles", "everyone"]}, ([], [MODERATOR], True)),
        ({"users": [BOB, CAT]}, ([BOB], [], False)),
        ({"roles": [MODERATOR, GUILD]}, ([], [MODERATOR], False)),
    ],
)
def test_allowed_mentions_select_mentions(allowed: Any, expected: Any) -> None:
    body = {} if allowed is None else {"allowed_mentions": allowed}
    assert mentions_of(create_message(default_world(), **body)) == expected


@pytest.mark.parametrize(
    "allowed",
    [
        {"parse": ["all"]},
        {"parse": ["users"], "users": [ANN]},
        {"users": ["x"]},
        {"roles": ["1"] * 101},
        {"parse": "users"},
    ],
)
def test_allowed_mentions_are_checked(allowed: Any) -> None:
    with pytest.raises(ApiError) as refused:
        create_message(default_world(), allowed_mentions=allowed)
    assert list(refused.value.errors) == ["allowed_mentions"]


def test_role_mentions_need_permission_or_a_mentionable_role() -> None:
    world = default_world()
    assert mentions_of(create_message(world, CAT)) == ([ANN, BOB], [], False)
    world.guilds[GUILD].roles[MODERATOR].mentionable = True
    assert mentions_of(create_message(world, CAT)) == ([ANN, BOB], [MODERATOR], False)
    world.guilds[GUILD].roles[GUILD].permissions |= permission_bits.bits("MENTION_EVERYONE")
    assert mentions_of(create_message(world, CAT)) == ([ANN, BOB], [MODERATOR], True)


def test_interaction_response_mentions_users_only_by_default() -> None:
    assert mentions_of(create_message(default_world(), default=mentions.USER_MENTIONS)) == ([ANN, BOB], [], False)


@pytest.mark.parametrize(("allowed", "pinged"), [(None, True), ({"parse": []}, False), ({"replied_user": True}, True)])
def test_reply_mentions_the_replied_user(allowed: Any, pinged: bool) -> None:
    world = default_world()
    first = create_message(world, CAT)
    body = {"content": "re"} if allowed is None else {"content": "re", "allowed_mentions": allowed}
    draft = drafts.parse_body(body, [], world)
    answer = drafts.create(world, draft, channel_id=GENERAL, guild_id=GUILD, author_id=ANN, reply_to=first.id)
    assert (CAT in answer.mentions) == pinged


def test_edit_recomputes_mentions() -> None:
    world = default_world()
    message = create_message(world)
    drafts.edit(world, message, drafts.parse_body({"content": f"<@{CAT}>"}, [], world, old=message))
    assert mentions_of(message) == ([CAT], [], False)


def test_text_components_mention_users() -> None:
    text = {"flags": 1 << 15, "components": [{"type": 10, "content": f"<@{BOB}>"}]}
    world = default_world()
    draft = drafts.parse_body(text, [], world)
    message = drafts.create(world, draft, channel_id=GENERAL, guild_id=GUILD, author_id=ANN, flags=draft.flags)
    assert message.mentions == [BOB]


@pytest.mark.parametrize("text", ["👍", "❤️", "👍🏽", "🇩🇪", "1️⃣", "👨‍👩‍👧‍👦", "☺", "™", "‼️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🪿"])
def test_emoji_is_recognized(text: str) -> None:
    assert reactions.is_emoji(text)


@pytest.mark.parametrize("text", ["", "a", "é", "12", "1", "+1", "<3", "👍a", "👍" * 21, "️", "‍"])
def test_non_emoji_text_is_rejected(text: str) -> None:
    assert not reactions.is_emoji(text)


def test_custom_emoji_is_found_by_id() -> None:
    world = default_world()
    world.guilds[GUILD].emojis["7"] = Emoji("7", "party", ANN)
    for written in ("party:7", "other:7", "<:party:7>", "<a:party:7>"):
        assert reactions.parse_emoji(world, written, GUILD, 0) == "party:7"
    with pytest.raises(ApiError) as refused:
        reactions.parse_emoji(world, "party:8", GUILD, permission_bits.ALL)
    assert refused.value.code == 10014
    with pytest.raises(ApiError) as refused:
        reactions.parse_emoji(world, "party:7", "1", 0)
    assert refused.value.code == 10014

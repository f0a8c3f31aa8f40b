"""Which stored sessions may be resumed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from botctl.bot.gateway.resume_rules import MAX_AGE_S, SessionOrigin, origin_of, refusal, sealing_key, token_mark

ORIGIN = SessionOrigin(token="t", intents=("default",), shards=2, library="disnake 2.12.2")


def test_session_of_the_same_bot_is_resumed() -> None:
    assert refusal(ORIGIN, ORIGIN, 0.0) == ""
    assert refusal(ORIGIN, ORIGIN, MAX_AGE_S) == ""


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        ({"version": 0}, "another version of botctl stored its session"),
        ({"token": "u"}, "its session belongs to another token"),
        ({"shards": 1}, "the number of shards was 1, and is 2"),
        ({"intents": ()}, "discord.intents was empty, and is default"),
        ({"intents": ("guilds", "members")}, "discord.intents was guilds, members, and is default"),
        ({"library": "disnake 2.11.0"}, "the library was disnake 2.11.0, and is disnake 2.12.2"),
    ],
)
def test_change_means_a_login(stored: dict[str, Any], reason: str) -> None:
    assert refusal(replace(ORIGIN, **stored), ORIGIN, 0.0) == reason


def test_old_session_means_a_login() -> None:
    assert refusal(ORIGIN, ORIGIN, MAX_AGE_S + 1) == "its session is older than 1 h"


def test_intent_for_presences_means_a_login() -> None:
    origin = replace(ORIGIN, intents=("default", "presences"))
    assert refusal(origin, origin, 0.0) == "only a login tells who is online, for the intent presences"


def test_origin_does_not_depend_on_the_order_of_the_settings() -> None:
    one = origin_of("a.b.c", None, ("members", "default", "members"), 1)
    assert one == origin_of("a.b.c", None, ("default", "members"), 1)
    assert one.intents == ("default", "members")
    assert one.library.startswith("disnake 2.")


def test_mark_tells_tokens_and_sandboxes_apart_and_has_nothing_of_the_token() -> None:
    marks = {token_mark("a.b.c", None), token_mark("a.b.d", None), token_mark("a.b.c", "http://localhost:1")}
    assert len(marks) == 3
    assert all(len(mark) == 32 and "a.b" not in mark for mark in marks)
    assert sealing_key("a.b.c") != sealing_key("a.b.d")

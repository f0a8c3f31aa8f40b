"""The stored guilds are the sum of what Discord has sent."""

from __future__ import annotations

from typing import Any

import pytest

from botctl.bot.gateway.guild_payloads import GuildPayloads, is_worth_storing, stored_form

ME, ANN, BOB = "10", "11", "12"


def member(user: str, **fields: Any) -> dict[str, Any]:
    return {"user": {"id": user}, "roles": [], **fields}


def stored(*events: tuple[str, dict[str, Any]]) -> GuildPayloads:
    """A session with the guild 1, and the guild 2, which has not come yet, after ``events``."""
    guilds = GuildPayloads()
    ready = {"session_id": "s", "user": {"id": ME, "username": "b"}, "guilds": [{"id": "1"}, {"id": "2"}]}
    guild = {
        "id": "1",
        "name": "one",
        "unavailable": False,
        "member_count": 3,
        "roles": [{"id": "1", "name": "@everyone"}, {"id": "5", "name": "five"}],
        "channels": [{"id": "7", "name": "seven", "topic": "t"}],
        "threads": [{"id": "8", "parent_id": "7"}],
        "members": [member(ME, nick=None)],
        "voice_states": [],
    }
    for event, data in (("READY", ready), ("GUILD_CREATE", guild), *events):
        guilds.apply(event, data)
    return guilds


def in_guild(event: str, **data: Any) -> tuple[str, dict[str, Any]]:
    return event, {"guild_id": "1", **data}


@pytest.mark.parametrize(
    ("events", "path", "expected"),
    [
        ([in_guild("CHANNEL_CREATE", id="9", name="n")], "channels", ["7", "9"]),
        ([in_guild("CHANNEL_DELETE", id="7")], "channels", []),
        ([in_guild("CHANNEL_DELETE", id="7")], "threads", []),
        ([in_guild("GUILD_ROLE_CREATE", role={"id": "6"})], "roles", ["1", "5", "6"]),
        ([in_guild("GUILD_ROLE_DELETE", role_id="5")], "roles", ["1"]),
        ([in_guild("GUILD_EMOJIS_UPDATE", emojis=[{"id": "3"}])], "emojis", ["3"]),
        ([in_guild("GUILD_STICKERS_UPDATE", stickers=[{"id": "3"}])], "stickers", ["3"]),
        ([in_guild("THREAD_CREATE", id="4", parent_id="7")], "threads", ["8", "4"]),
        ([in_guild("THREAD_UPDATE", id="8", thread_metadata={"archived": True})], "threads", []),
        ([in_guild("THREAD_UPDATE", id="4", thread_metadata={"archived": False})], "threads", ["8", "4"]),
        ([in_guild("THREAD_DELETE", id="8")], "threads", []),
        ([in_guild("THREAD_LIST_SYNC", threads=[{"id": "3"}])], "threads", ["3"]),
        (
            [in_guild("THREAD_LIST_SYNC", channel_ids=["6"], threads=[{"id": "3", "parent_id": "6"}])],
            "threads",
            ["8", "3"],
        ),
        ([in_guild("STAGE_INSTANCE_CREATE", id="3")], "stage_instances", ["3"]),
        ([in_guild("GUILD_SCHEDULED_EVENT_CREATE", id="3")], "guild_scheduled_events", ["3"]),
    ],
)
def test_lists_follow_the_events(events: list[Any], path: str, expected: list[str]) -> None:
    """And an event that comes twice changes nothing more."""
    for repeated in (events, events * 2):
        assert [item["id"] for item in stored(*repeated).guilds["1"][path]] == expected


def test_update_keeps_what_it_does_not_name() -> None:
    channel = stored(in_guild("CHANNEL_UPDATE", id="7", name="new")).guilds["1"]["channels"][0]
    assert (channel["name"], channel["topic"]) == ("new", "t")
    guild = stored(("GUILD_UPDATE", {"id": "1", "name": "new"})).guilds["1"]
    assert (guild["name"], len(guild["channels"]), guild["unavailable"]) == ("new", 1, False)
    assert stored(("USER_UPDATE", {"id": ME, "avatar": "a"})).ready["user"] == {
        "id": ME,
        "username": "b",
        "avatar": "a",
    }


def test_members_are_the_bot_and_those_who_speak() -> None:
    speaks = in_guild("VOICE_STATE_UPDATE", user_id=ANN, channel_id="7", member=member(ANN))
    silent = in_guild("VOICE_STATE_UPDATE", user_id=ANN, channel_id=None)
    nick = in_guild("GUILD_MEMBER_UPDATE", user={"id": ME}, nick="n")
    guild = stored(nick, speaks).guilds["1"]
    assert {one["user"]["id"]: one.get("nick") for one in guild["members"]} == {ME: "n", ANN: None}
    assert guild["voice_states"] == [{"user_id": ANN, "channel_id": "7"}]
    assert stored(speaks, silent).guilds["1"]["voice_states"] == []
    came, went = in_guild("GUILD_MEMBER_ADD", user={"id": BOB}), in_guild("GUILD_MEMBER_REMOVE", user={"id": ANN})
    assert stored(came).guilds["1"]["member_count"] == 4
    assert stored(speaks, went).guilds["1"]["member_count"] == 2
    assert [one["user"]["id"] for one in stored(speaks, went).guilds["1"]["members"]] == [ME]


def test_guilds_come_and_go() -> None:
    assert list(stored().guilds) == ["1", "2"]
    assert [guild["id"] for guild in stored().complete()] == ["1"]
    down = stored(("GUILD_DELETE", {"id": "1", "unavailable": True}))
    assert (list(down.guilds), down.complete()) == (["2", "1"], [])
    assert list(stored(("GUILD_DELETE", {"id": "1"})).guilds) == ["2"]
    joined = stored(("GUILD_CREATE", {"id": "3", "name": "joined"}))
    assert joined.guilds["3"]["unavailable"] is False, "it is no news to the next process that the bot has joined"
    unknown = stored(("CHANNEL_CREATE", {"guild_id": "2", "id": "9"}), ("CHANNEL_CREATE", {"id": "9"}))
    assert unknown.guilds == stored().guilds


def test_records_say_the_same() -> None:
    guilds, again = stored(in_guild("CHANNEL_CREATE", id="9")), GuildPayloads()
    for event, data in guilds.records():
        again.apply(event, data)
    assert again.guilds == guilds.guilds
    assert again.ready_now() == guilds.ready_now()
    assert guilds.ready_now()["guilds"] == [{"id": "1", "unavailable": True}, {"id": "2", "unavailable": True}]


@pytest.mark.parametrize(
    "event", ["MESSAGE_CREATE", "PRESENCE_UPDATE", "TYPING_START", "INTERACTION_CREATE", "RESUMED"]
)
def test_what_changes_no_guild_is_not_stored(event: str) -> None:
    assert not is_worth_storing(event, {"guild_id": "1"}, ME)


def test_other_members_are_not_stored() -> None:
    guild = {
        "id": "1",
        "members": [member(ME), member(ANN), member(BOB)],
        "voice_states": [{"user_id": BOB}],
        "presences": [1],
    }
    kept = stored_form("GUILD_CREATE", guild, ME)
    assert ([one["user"]["id"] for one in kept["members"]], kept["presences"]) == ([ME, BOB], [])
    assert len(guild["members"]) == 3, "disnake gets it whole"
    assert not is_worth_storing(*in_guild("GUILD_MEMBER_UPDATE", **member(ANN)), ME)
    assert is_worth_storing(*in_guild("GUILD_MEMBER_UPDATE", **member(ME)), ME)
    assert is_worth_storing(*in_guild("GUILD_MEMBER_ADD", **member(ANN)), ME)
    assert stored_form("READY", {"session_id": "s", "__shard_id__": 0, "_trace": []}, ME) == {"session_id": "s"}

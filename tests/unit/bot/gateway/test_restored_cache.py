"""What disnake knows after a RESUME in another process is what it knows after a login: all of it, on two shards.

Three clients: one has heard every event, one gets what the first has stored, and one what Discord would send to a new
login now, which is written down here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from botctl.bot.gateway.stored_sessions import StoredSessions
from botctl.core.clock import SystemClock
from botctl.core.config.settings import Settings
from tests.support.disnake_cache import cache_of
from tests.support.offline import offline
from tests.unit.bot.gateway.test_stored_sessions import TOKEN, NoRedis

Json = dict[str, Any]
ME, ANN, BOB = "10", "11", "12"
FIRST, SECOND = str(2 << 22), str(3 << 22)  # of shard 0, of shard 1
TIME = "2026-11-30T00:00:00+00:00"
TEXT, VOICE, STAGE, FORUM, THREAD = "71", "72", "73", "74", "75"


def user(number: str) -> Json:
    return {"id": number, "username": f"user{number}", "discriminator": "0", "avatar": None, "global_name": None}


def member(number: str, **fields: Any) -> Json:
    return {"user": user(number), "roles": [], "joined_at": TIME, "deaf": False, "mute": False, "flags": 0, **fields}


def channel(number: str, kind: int, **fields: Any) -> Json:
    shape = {"id": number, "name": f"c{number}", "type": kind, "position": 0, "permission_overwrites": [], "flags": 0}
    return {**shape, "bitrate": 64000, "user_limit": 0, "rtc_region": None, "last_message_id": None, **fields}


def thread(number: str, parent: str, *, archived: bool = False, **fields: Any) -> Json:
    metadata = {"archived": archived, "auto_archive_duration": 60, "archive_timestamp": TIME, "locked": False}
    shape = {"id": number, "parent_id": parent, "owner_id": ANN, "name": f"t{number}", "type": 11, "message_count": 0}
    return {**shape, "member_count": 1, "thread_metadata": metadata, **fields}


def thread_member(number: str, of: str) -> Json:
    return {"id": number, "user_id": of, "join_timestamp": TIME, "flags": 0}


def voice(of: str, where: str | None, **fields: Any) -> Json:
    flags = ("deaf", "mute", "self_deaf", "self_mute", "self_video", "suppress")
    shape = {"user_id": of, "channel_id": where, "session_id": "v", "request_to_speak_timestamp": None}
    return {**shape, **dict.fromkeys(flags, False), **fields}


def stage(number: str, topic: str) -> Json:
    return {"id": number, "channel_id": STAGE, "topic": topic, "privacy_level": 2, "discoverable_disabled": True}


def happening(number: str, name: str, *, status: int = 1, where: str = VOICE) -> Json:
    times = {"scheduled_start_time": TIME, "scheduled_end_time": None}
    kind = {"entity_type": 2, "entity_id": None, "entity_metadata": None, "privacy_level": 2, "status": status}
    return {"id": number, "name": name, "channel_id": where, "creator_id": ANN, **times, **kind, "image": None}


def sound(number: str, name: str) -> Json:
    return {"sound_id": number, "name": name, "volume": 1.0, "emoji_id": None, "emoji_name": None, "available": True}


def sticker(number: str, name: str) -> Json:
    return {"id": number, "name": name, "description": "", "tags": "t", "type": 2, "format_type": 1, "available": True}


def emoji(number: str, name: str) -> Json:
    return {"id": number, "name": name, "roles": [], "require_colons": True, "managed": False, "animated": False}


def role(number: str, **fields: Any) -> Json:
    colors = {"primary_color": 0, "secondary_color": None, "tertiary_color": None}
    shape = {
        "id": number,
        "name": f"r{number}",
        "color": 0,
        "colors": colors,
        "hoist": False,
        "position": 0,
        "flags": 0,
    }
    return {**shape, "permissions": "0", "managed": False, "mentionable": False, **fields}


def guild(number: str, **fields: Any) -> Json:
    kinds = {TEXT: 0, VOICE: 2, STAGE: 13, FORUM: 15}
    lists = {"emojis": [], "stickers": [], "stage_instances": [], "guild_scheduled_events": [], "soundboard_sounds": []}
    shape = {"id": number, "name": "guild", "unavailable": False, "member_count": 3, "large": False, "owner_id": ANN}
    return {
        **shape,
        **lists,
        "roles": [role(number)],
        "channels": [channel(one, kind) for one, kind in kinds.items()],
        "threads": [thread(THREAD, TEXT)],
        "members": [member(ME)],
        "voice_states": [],
        "presences": [],
        **fields,
    }


Step = tuple[str, Json]
CASES: dict[str, tuple[list[Step], Json]] = {
    "someone speaks": (
        [
            ("VOICE_STATE_UPDATE", voice(ANN, STAGE, member=member(ANN))),
            ("VOICE_STATE_UPDATE", voice(ANN, VOICE, self_mute=True, member=member(ANN))),
            ("VOICE_STATE_UPDATE", voice(BOB, VOICE, member=member(BOB))),
            ("VOICE_STATE_UPDATE", voice(BOB, None, member=member(BOB))),
        ],
        {"voice_states": [voice(ANN, VOICE, self_mute=True)], "members": [member(ME), member(ANN)]},
    ),
    "stage": (
        [
            ("STAGE_INSTANCE_CREATE", stage("1", "a")),
            ("STAGE_INSTANCE_UPDATE", stage("1", "b")),
            ("STAGE_INSTANCE_CREATE", stage("2", "c")),
            ("STAGE_INSTANCE_DELETE", stage("2", "c")),
        ],
        {"stage_instances": [stage("1", "b")]},
    ),
    "scheduled events": (
        [
            ("GUILD_SCHEDULED_EVENT_CREATE", happening("1", "a")),
            ("GUILD_SCHEDULED_EVENT_UPDATE", happening("1", "b", status=2)),
            ("GUILD_SCHEDULED_EVENT_CREATE", happening("2", "over")),
            ("GUILD_SCHEDULED_EVENT_UPDATE", happening("2", "over", status=3)),
            ("GUILD_SCHEDULED_EVENT_DELETE", happening("2", "over", status=3)),
            ("GUILD_SCHEDULED_EVENT_CREATE", happening("3", "its place goes", where=STAGE)),
            ("CHANNEL_DELETE", channel(STAGE, 13)),
        ],
        {
            "guild_scheduled_events": [happening("1", "b", status=2)],
            "channels": [one for one in guild(FIRST)["channels"] if one["id"] != STAGE],
        },
    ),
    "stickers and emojis": (
        [
            ("GUILD_STICKERS_UPDATE", {"stickers": [sticker("1", "a"), sticker("2", "b")]}),
            ("GUILD_STICKERS_UPDATE", {"stickers": [sticker("2", "c")]}),
            ("GUILD_EMOJIS_UPDATE", {"emojis": [emoji("3", "e")]}),
        ],
        {"stickers": [sticker("2", "c")], "emojis": [emoji("3", "e")]},
    ),
    "soundboard": (
        [
            ("GUILD_SOUNDBOARD_SOUND_CREATE", sound("1", "a")),
            ("GUILD_SOUNDBOARD_SOUND_CREATE", sound("2", "b")),
            ("GUILD_SOUNDBOARD_SOUND_UPDATE", sound("1", "c")),
            ("GUILD_SOUNDBOARD_SOUND_DELETE", {"sound_id": "2"}),
        ],
        {"soundboard_sounds": [sound("1", "c")]},
    ),
    "all sounds": (
        [("GUILD_SOUNDBOARD_SOUNDS_UPDATE", {"soundboard_sounds": [sound("1", "a"), sound("2", "b")]})],
        {"soundboard_sounds": [sound("1", "a"), sound("2", "b")]},
    ),
    "threads": (
        [
            ("THREAD_CREATE", thread("1", FORUM, newly_created=True)),
            ("THREAD_UPDATE", thread("1", FORUM, name="renamed")),
            ("THREAD_CREATE", thread("2", TEXT)),
            ("THREAD_DELETE", {"id": "2", "parent_id": TEXT, "type": 11}),
            ("CHANNEL_PINS_UPDATE", {"channel_id": TEXT, "last_pin_timestamp": TIME}),
            ("CHANNEL_PINS_UPDATE", {"channel_id": "1", "last_pin_timestamp": TIME}),
        ],
        {
            "threads": [thread(THREAD, TEXT), thread("1", FORUM, name="renamed", last_pin_timestamp=TIME)],
            "channels": [
                channel(TEXT, 0, last_pin_timestamp=TIME),
                channel(VOICE, 2),
                channel(STAGE, 13),
                channel(FORUM, 15, last_message_id="1"),
            ],
        },
    ),
    "the bot is in a thread": (
        [
            ("THREAD_MEMBERS_UPDATE", {"id": THREAD, "member_count": 1, "added_members": [thread_member(THREAD, ME)]}),
            ("THREAD_UPDATE", thread(THREAD, TEXT)),
            ("THREAD_MEMBER_UPDATE", thread_member(THREAD, ME) | {"flags": 2}),
        ],
        {"threads": [thread(THREAD, TEXT, member=thread_member(THREAD, ME) | {"flags": 2})]},
    ),
    "a channel opens": (
        [("THREAD_LIST_SYNC", {"channel_ids": [FORUM], "threads": [thread("1", FORUM)], "members": []})],
        {"threads": [thread(THREAD, TEXT), thread("1", FORUM)]},
    ),
    "the bot itself": (
        [
            ("GUILD_MEMBER_UPDATE", member(ME, nick="nick")),
            ("GUILD_ROLE_CREATE", {"role": role("5", position=1)}),
            ("GUILD_MEMBER_UPDATE", member(ME, nick="nick", roles=["5"])),
        ],
        {"members": [member(ME, nick="nick", roles=["5"])], "roles": [role(FIRST), role("5", position=1)]},
    ),
}
CASES["everything"] = (
    [step for steps, _ in CASES.values() for step in steps if step[0] != "GUILD_SOUNDBOARD_SOUNDS_UPDATE"],
    {},
)


def ready(number: str) -> Json:
    return {
        "session_id": f"s{number}",
        "resume_gateway_url": "ws://resume.example",
        "user": user(ME) | {"bot": True, "verified": True, "mfa_enabled": False, "flags": 0},
        "guilds": [{"id": number, "unavailable": True}],
        "application": {"id": ME, "flags": 0},
    }


class Client:
    """disnake's cache of a bot with two shards."""

    def __init__(self, client: Any) -> None:
        self.client, self.state = client, client._connection
        client.shard_count = self.state.shard_count = 2

    def begin(self, shard: int, ready: Json, guilds: Iterable[Json]) -> None:
        self.state.restore(deepcopy(ready) | {"__shard_id__": shard}, deepcopy(list(guilds)))
        self.state._ready_task.cancel()

    def cache(self) -> dict[str, Any]:
        return cache_of(self.client)


def compare(one: Client, other: Client, *, but: str = "nothing") -> None:
    """pytest shows the differences, and not all the rest."""
    left, right = one.cache(), other.cache()
    differing = [path for path in left.keys() | right.keys() if left.get(path) != right.get(path) and but not in path]
    assert {path: left.get(path) for path in differing} == {path: right.get(path) for path in differing}
    assert len(left) > 100


@pytest.mark.parametrize("case", CASES)
async def test_cache_after_a_resume(case: str, tmp_path: Path) -> None:
    steps, final = CASES[case]
    with ExitStack() as stack:
        live, resumed, fresh = (Client(stack.enter_context(offline()).bot) for _ in range(3))
        first, second = (StoredSessions(tmp_path, Settings(), None, SystemClock(), NoRedis()) for _ in range(2))
        await first.begin(2, TOKEN)
        for shard, number in enumerate((FIRST, SECOND)):
            live.begin(shard, ready(number), [])
            events = [("READY", ready(number)), ("GUILD_CREATE", guild(number))]
            events += [(event, {"guild_id": number, **_placed(data, number)}) for event, data in steps]
            for sequence, (event, data) in enumerate(events, 1):
                text = json.dumps({"op": 0, "s": sequence, "t": event, "d": data})
                first.record(shard, event, json.loads(text)["d"], text)
                if event != "READY":
                    live.state.parsers[event](json.loads(text)["d"])
                first.mark(shard, sequence)
            fresh.begin(shard, ready(number), [guild(number, **_of_guild(final, number))])
        first.close()
        sessions = await second.begin(2, TOKEN)
        assert [session.sequence for session in sessions.values()] == [len(steps) + 2] * 2
        for shard in (0, 1):
            stored = second.take(shard)
            assert stored is not None
            resumed.begin(shard, stored.ready_now(), stored.complete())
        second.close()
        if final:
            compare(fresh, resumed)
        # Without the intent `members` a login does not tell disnake who speaks; it learns that with their next event.
        compare(resumed, live, but="/_members/11")
        assert len(resumed.client.guilds) == 2


def _of_guild(final: Json, number: str) -> Json:
    """``final`` for this guild, whose @everyone has its id."""
    own_role = {"roles": [role(number), *final["roles"][1:]]} if "roles" in final else {}
    return _placed(final, number) | own_role


def _placed(data: Json, number: str) -> Json:
    """``data`` with the id of its guild in the items of those lists where Discord has it."""
    names = data.keys() & {"guild_scheduled_events", "stage_instances", "stickers"}
    return data | {name: [item | {"guild_id": number} for item in data[name]] for name in names}

"""The guilds of a shard as Discord would send them now: its GUILD_CREATE payloads with every later change.

After a RESUME Discord sends only what has changed. So the payloads are stored as they come, with the events that change
them, and a process that resumes gives its library the sum of both, as if it had logged in. See `stored_form` for
what is left out: what the library asks for again (members, where the intent allows it), and what is gone anyway.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

Json = dict[str, Any]

_LISTS: Final[dict[str, tuple[str, str]]] = {  # event: the list in the guild, and the key of its elements
    "STAGE_INSTANCE_CREATE": ("stage_instances", "id"),
    "STAGE_INSTANCE_UPDATE": ("stage_instances", "id"),
    "GUILD_SCHEDULED_EVENT_CREATE": ("guild_scheduled_events", "id"),
    "GUILD_SCHEDULED_EVENT_UPDATE": ("guild_scheduled_events", "id"),
    "GUILD_SOUNDBOARD_SOUND_CREATE": ("soundboard_sounds", "sound_id"),
    "GUILD_SOUNDBOARD_SOUND_UPDATE": ("soundboard_sounds", "sound_id"),
}
_REMOVALS: Final[dict[str, tuple[str, str]]] = {
    "STAGE_INSTANCE_DELETE": ("stage_instances", "id"),
    "GUILD_SCHEDULED_EVENT_DELETE": ("guild_scheduled_events", "id"),
    "GUILD_SOUNDBOARD_SOUND_DELETE": ("soundboard_sounds", "sound_id"),
}
_REPLACED: Final = {  # event: the list that it brings whole
    "GUILD_EMOJIS_UPDATE": "emojis",
    "GUILD_STICKERS_UPDATE": "stickers",
    "GUILD_SOUNDBOARD_SOUNDS_UPDATE": "soundboard_sounds",
}
_OTHERS: Final = frozenset(
    {
        "READY",
        "USER_UPDATE",
        "GUILD_CREATE",
        "GUILD_UPDATE",
        "GUILD_DELETE",
        "GUILD_ROLE_CREATE",
        "GUILD_ROLE_UPDATE",
        "GUILD_ROLE_DELETE",
        "GUILD_MEMBER_ADD",
        "GUILD_MEMBER_UPDATE",
        "GUILD_MEMBER_REMOVE",
        "VOICE_STATE_UPDATE",
        "CHANNEL_CREATE",
        "CHANNEL_UPDATE",
        "CHANNEL_DELETE",
        "CHANNEL_PINS_UPDATE",
        "THREAD_CREATE",
        "THREAD_UPDATE",
        "THREAD_DELETE",
        "THREAD_LIST_SYNC",
        "THREAD_MEMBER_UPDATE",
        "THREAD_MEMBERS_UPDATE",
    }
)
_VOICE_CHANNELS: Final = (2, 13)  # Discord: Channel Types. They have scheduled events
_FORUMS: Final = (15, 16)  # their last message is their newest thread
_EVENT_IS_OVER: Final = (3, 4)  # Discord: Guild Scheduled Event Status
_STORED: Final = _OTHERS | _LISTS.keys() | _REMOVALS.keys() | _REPLACED.keys()


def is_worth_storing(event: str, data: Any, me: str) -> bool:
    """Whether an event is needed to know the guilds. ``me``: the bot's id."""
    if event == "GUILD_MEMBER_UPDATE":
        return bool(data["user"]["id"] == me)
    if event == "THREAD_MEMBERS_UPDATE":
        return me in data.get("removed_member_ids", ()) or any(_is_of(one, me) for one in data.get("added_members", ()))
    return event in _STORED


def stored_form(event: str, data: Json, me: str) -> Json:
    """What is kept of the data of an event: of members only the bot itself and those who are in a voice channel."""
    if event == "READY":
        return {key: value for key, value in data.items() if not key.startswith("_")}
    if event == "GUILD_CREATE":
        kept = {me} | {state["user_id"] for state in data.get("voice_states", ())}
        members = [member for member in data.get("members", ()) if member["user"]["id"] in kept]
        return data | {"members": members, "presences": []}
    return data


@dataclass
class GuildPayloads:
    """READY of the session, and the guilds by id. A guild that is not there yet, or is down, has only its id."""

    ready: Json = field(default_factory=dict)
    guilds: dict[str, Json] = field(default_factory=dict)

    def apply(self, event: str, data: Json) -> None:
        """Change the guilds as ``event`` says. An event may come twice."""
        if event == "READY":
            self.ready = data
            self.guilds = {guild["id"]: _stub(guild["id"]) for guild in data["guilds"]}
        elif event == "USER_UPDATE":
            self.ready["user"] = self.ready["user"] | data
        elif event == "GUILD_CREATE":
            # False: the bot has not just joined it
            self.guilds[data["id"]] = _stub(data["id"]) if data.get("unavailable") else data | {"unavailable": False}
        elif event == "GUILD_DELETE":
            self.guilds.pop(data["id"], None)
            if data.get("unavailable"):
                self.guilds[data["id"]] = _stub(data["id"])
        else:
            guild = self.guilds.get(data["id"] if event == "GUILD_UPDATE" else data.get("guild_id", ""))
            if guild is not None and is_complete(guild):
                _change(guild, event, data, self.ready["user"]["id"])

    def ready_now(self) -> Json:
        """READY as Discord would send it now."""
        return self.ready | {"guilds": [_stub(number) for number in self.guilds]}

    def complete(self) -> list[Json]:
        """The payloads of GUILD_CREATE."""
        return [guild for guild in self.guilds.values() if is_complete(guild)]

    def records(self) -> list[tuple[str, Json]]:
        """The events that say the same in the shortest way."""
        return [("READY", self.ready_now()), *(("GUILD_CREATE", guild) for guild in self.complete())]


def is_complete(guild: Json) -> bool:
    """Whether it is more than an id."""
    return not guild["unavailable"]


def _stub(number: str) -> Json:
    return {"id": number, "unavailable": True}


def _is_of(thread_member: Json, user: str) -> bool:
    return bool(thread_member.get("user_id") == user)


def _change(guild: Json, event: str, data: Json, me: str) -> None:
    if event == "GUILD_UPDATE":
        guild |= data | {"unavailable": False}
    elif event in _REPLACED:
        guild[_REPLACED[event]] = data[_REPLACED[event]]
    elif event.startswith("THREAD_"):
        _change_threads(guild, event, data, me)
    elif event.startswith("CHANNEL_"):
        _change_channels(guild, event, data)
    elif event in _LISTS:
        _put(guild, *_LISTS[event], {key: value for key, value in data.items() if key != "user_count"})  # it changes
        if data.get("status") in _EVENT_IS_OVER:
            _drop(guild, "guild_scheduled_events", "id", data["id"])
    elif event in _REMOVALS:
        name, key = _REMOVALS[event]
        _drop(guild, name, key, data[key])
    elif event.startswith("GUILD_ROLE_"):
        _change_roles(guild, event, data)
    elif event == "VOICE_STATE_UPDATE":
        _change_voice(guild, data, me)
    else:
        _change_members(guild, event, data)


def _change_channels(guild: Json, event: str, data: Json) -> None:
    if event == "CHANNEL_PINS_UPDATE":
        for place in (*guild.get("channels", ()), *guild.get("threads", ())):
            if place["id"] == data["channel_id"]:
                place["last_pin_timestamp"] = data.get("last_pin_timestamp")
    elif event == "CHANNEL_DELETE":
        _drop(guild, "channels", "id", data["id"])
        _drop(guild, "threads", "parent_id", data["id"])
        if data.get("type") in _VOICE_CHANNELS:
            _drop(guild, "guild_scheduled_events", "channel_id", data["id"])
    else:
        _put(guild, "channels", "id", data)


def _change_roles(guild: Json, event: str, data: Json) -> None:
    if event == "GUILD_ROLE_DELETE":
        _drop(guild, "roles", "id", data["role_id"])
    else:
        _put(guild, "roles", "id", data["role"])


def _change_threads(guild: Json, event: str, data: Json, me: str) -> None:
    """A guild has the threads that are active, with the membership of the bot."""
    if event == "THREAD_DELETE":
        _drop(guild, "threads", "id", data["id"])
    elif event == "THREAD_LIST_SYNC":
        _replace_threads(guild, data)
    elif event == "THREAD_MEMBER_UPDATE":
        _set_membership(guild, data["id"], {key: value for key, value in data.items() if key != "guild_id"})
    elif event == "THREAD_MEMBERS_UPDATE":
        mine = next((one for one in data.get("added_members", ()) if _is_of(one, me)), None)
        _set_membership(guild, data["id"], mine)
    elif data.get("thread_metadata", {}).get("archived"):
        _drop(guild, "threads", "id", data["id"])
    else:
        _put(guild, "threads", "id", data)
        if data.get("newly_created"):
            for channel in guild.get("channels", ()):
                if channel["id"] == data.get("parent_id") and channel.get("type") in _FORUMS:
                    channel["last_message_id"] = data["id"]


def _replace_threads(guild: Json, data: Json) -> None:
    """The threads of some channels, or of all of them, are now those of a THREAD_LIST_SYNC."""
    parents, old = data.get("channel_ids"), guild.get("threads", ())
    kept = [] if parents is None else [one for one in old if one.get("parent_id") not in parents]
    guild["threads"] = kept + data["threads"]
    for member in data.get("members", ()):
        _set_membership(guild, member["id"], member)


def _set_membership(guild: Json, number: str, member: Json | None) -> None:
    """The bot is in a thread as ``member``; None: it is not in it."""
    for thread in guild.get("threads", ()):
        if thread["id"] == number:
            thread.pop("member", None)
            if member is not None:
                thread["member"] = member


def _change_voice(guild: Json, data: Json, me: str) -> None:
    user = data["user_id"]
    if data["channel_id"] is None:
        _drop(guild, "voice_states", "user_id", user)
        if user != me:
            _drop_member(guild, user)
        return
    state = {key: value for key, value in data.items() if key not in ("member", "guild_id")}
    _put(guild, "voice_states", "user_id", state)
    if "member" in data:
        _put_member(guild, data["member"])


def _change_members(guild: Json, event: str, data: Json) -> None:
    if event == "GUILD_MEMBER_UPDATE":
        _put_member(guild, {key: value for key, value in data.items() if key != "guild_id"})
        return
    guild["member_count"] = guild.get("member_count", 0) + (1 if event == "GUILD_MEMBER_ADD" else -1)
    if event == "GUILD_MEMBER_REMOVE":
        _drop_member(guild, data["user"]["id"])


def _drop_member(guild: Json, user: str) -> None:
    guild["members"] = [one for one in guild.get("members", ()) if one["user"]["id"] != user]


def _put_member(guild: Json, member: Json) -> None:
    """An update has not all fields of a member."""
    old: Json = next((one for one in guild.get("members", ()) if one["user"]["id"] == member["user"]["id"]), {})
    others = [one for one in guild.get("members", ()) if one is not old]
    guild["members"] = [*others, old | member]


def _put(guild: Json, name: str, key: str, item: Json) -> None:
    items = guild.setdefault(name, [])
    for place, old in enumerate(items):
        if old[key] == item[key]:
            items[place] = old | item
            return
    items.append(item)


def _drop(guild: Json, name: str, key: str, value: str) -> None:
    guild[name] = [item for item in guild.get(name, ()) if item.get(key) != value]

"""`calls` for channels, threads, messages, reactions, pins, webhooks and DMs."""

from __future__ import annotations

from tests.support.calls import MESSAGE, Call

_CHANNEL = "/channels/{channel}"
_MESSAGES = _CHANNEL + "/messages"
_REACTIONS = _MESSAGES + "/{said}/reactions"
_GUILD = "/guilds/{guild}"
_THUMBS = "%F0%9F%91%8D"
V2 = {
    "flags": 1 << 15,
    "components": [
        {"type": 10, "content": "Hello <@{ann}>"},
        {
            "type": 17,
            "accent_color": 255,
            "components": [
                {
                    "type": 9,
                    "components": [{"type": 10, "content": "A"}],
                    "accessory": {"type": 11, "media": {"url": "https://example.org/a.png"}},
                },
                {"type": 14},
                {"type": 12, "items": [{"media": {"url": "https://example.org/b.png"}, "description": "B"}]},
                {"type": 1, "components": [{"type": 2, "style": 5, "label": "L", "url": "https://example.org"}]},
            ],
        },
    ],
}
_FILE_V2 = {"flags": 1 << 15, "components": [{"type": 13, "file": {"url": "attachment://a.txt"}}]}
CHANNELS = (
    Call("POST", _GUILD + "/channels", {"name": "work"}, status=201, save={"work": "id"}),
    Call("GET", "/channels/{work}"),
    Call("GET", "/channels/{unknown}", status=404),
    Call("PATCH", "/channels/{work}", {"name": "Works", "topic": "T", "nsfw": True, "rate_limit_per_user": 5}),
    Call("PATCH", "/channels/{work}", {"name": "", "type": 2, "rate_limit_per_user": 99999}, status=400),
    Call("PATCH", "/channels/{work}", {"type": 5}),
    Call("PUT", "/channels/{work}/permissions/{ann}", {"type": 1, "allow": "1024", "deny": 2048}, status=204),
    Call("PUT", "/channels/{work}/permissions/{unknown}", {"type": 1}, status=404),
    Call("PUT", "/channels/{work}/permissions/{ann}", {}, status=400),
    Call("GET", "/channels/{work}"),
    Call("DELETE", "/channels/{work}/permissions/{ann}", status=204),
    Call("DELETE", "/channels/{work}/permissions/{ann}", status=404),
    Call("POST", "/channels/{work}/typing", status=204),
    Call("POST", "/channels/{work}/messages", {"content": "news"}, save={"news": "id"}),
    Call("POST", "/channels/{work}/messages/{news}/crosspost"),
    Call("POST", "/channels/{work}/messages/{news}/crosspost", status=400),
    Call("POST", "/channels/{work}/messages/{news}/threads", {"name": "T"}, status=201),
    Call("DELETE", "/channels/{work}"),
)
MESSAGES = (
    Call("POST", _MESSAGES, {**MESSAGE, "nonce": "1", "enforce_nonce": True}, save={"said": "id"}),
    Call("POST", _MESSAGES, {**MESSAGE, "nonce": "1", "enforce_nonce": True}),
    Call("POST", _MESSAGES, V2, save={"v2": "id"}),
    Call("POST", _MESSAGES, _FILE_V2, file=True),
    Call("PATCH", _MESSAGES + "/{v2}", {"components": [{"type": 10, "content": "B"}]}),
    Call("PATCH", _MESSAGES + "/{v2}", {"content": "B"}, status=400),
    Call("POST", _MESSAGES, {**V2, "content": "no"}, status=400),
    Call("POST", _MESSAGES, {"message_reference": {"type": 1, "channel_id": "{channel}", "message_id": "{said}"}}),
    Call("POST", _MESSAGES, {"content": "re", "message_reference": {"message_id": "{unknown}"}}, status=400),
    Call(
        "POST",
        _MESSAGES,
        {"content": "re", "message_reference": {"message_id": "{unknown}", "fail_if_not_exists": False}},
    ),
    Call("POST", _MESSAGES, {"content": "@everyone <@{bob}>", "allowed_mentions": {"parse": [], "users": ["{bob}"]}}),
    Call("POST", _MESSAGES, {"content": "x", "allowed_mentions": {"parse": ["all"]}}, status=400),
    Call("POST", _MESSAGES, {"content": "x", "sticker_ids": ["1"]}, status=400),
    Call("POST", _MESSAGES, {"content": "x", "poll": {"question": {"text": "?"}}}, status=400),
    Call("POST", _MESSAGES, {"content": "one"}, save={"one": "id"}),
    Call("POST", _MESSAGES, {"content": "two"}, save={"two": "id"}),
    Call("GET", _MESSAGES + "?around={one}&limit=3"),
    Call("GET", _MESSAGES + "?before=x", status=400),
    Call("POST", _MESSAGES + "/bulk-delete", {"messages": ["{one}"]}, status=400),
    Call("POST", _MESSAGES + "/bulk-delete", {"messages": ["1", "{one}"]}, status=400),
    Call("POST", _MESSAGES + "/bulk-delete", {"messages": ["{one}", "{two}"]}, status=204),
    Call("PATCH", _MESSAGES + "/{said}", {"flags": 4}),
    Call("POST", "/channels/{unknown}/messages", {"content": "x"}, status=404),
)
REACTIONS = (
    Call("PUT", f"{_REACTIONS}/{_THUMBS}/@me", status=204),
    Call("PUT", f"{_REACTIONS}/nonsense/@me", status=400),
    Call("PUT", f"{_REACTIONS}/x:1/@me", status=400),
    Call("GET", f"{_REACTIONS}/{_THUMBS}?limit=5"),
    Call("GET", _MESSAGES + "/{said}"),
    Call("DELETE", f"{_REACTIONS}/{_THUMBS}/@me", status=204),
    Call("DELETE", f"{_REACTIONS}/{_THUMBS}/@me", status=400),
    Call("PUT", f"{_REACTIONS}/{_THUMBS}/@me", status=204),
    Call("DELETE", f"{_REACTIONS}/{_THUMBS}/{{app}}", status=204),
    Call("DELETE", f"{_REACTIONS}/{_THUMBS}", status=204),
    Call("DELETE", _REACTIONS, status=204),
)
PINS = (
    Call("PUT", _MESSAGES + "/pins/{said}", status=204),
    Call("PUT", _CHANNEL + "/pins/{said}", status=204),
    Call("GET", _MESSAGES + "/pins?limit=5"),
    Call("GET", _MESSAGES + "/pins?before=2020-01-01T00:00:00Z"),
    Call("GET", _MESSAGES + "/pins?before=yesterday", status=400),
    Call("GET", _CHANNEL + "/pins"),
    Call("GET", _MESSAGES + "?limit=3"),
    Call("DELETE", _CHANNEL + "/pins/{said}", status=204),
    Call("DELETE", _MESSAGES + "/pins/{said}", status=204),
)
_THREAD = "/channels/{thread}"
THREADS = (
    Call("POST", _MESSAGES + "/{said}/threads", {"name": "talk"}, status=201, save={"thread": "id"}),
    Call("POST", _MESSAGES + "/{said}/threads", {"name": "talk"}, status=400),
    Call("GET", _MESSAGES + "/{said}"),
    Call("GET", _THREAD + "/messages"),
    Call("POST", _THREAD + "/messages", {"content": "in"}),
    Call("PUT", _THREAD + "/thread-members/{bob}", status=204),
    Call("GET", _THREAD + "/thread-members?with_member=true"),
    Call("GET", _THREAD + "/thread-members/{bob}?with_member=true"),
    Call("GET", _THREAD + "/thread-members/{cat}", status=404),
    Call("DELETE", _THREAD + "/thread-members/{bob}", status=204),
    Call("DELETE", _THREAD + "/thread-members/@me", status=204),
    Call("PUT", _THREAD + "/thread-members/@me", status=204),
    Call("PATCH", _THREAD, {"name": "talks", "auto_archive_duration": 60, "rate_limit_per_user": 3}),
    Call("PATCH", _THREAD, {"auto_archive_duration": 61}, status=400),
    Call("GET", _GUILD + "/threads/active"),
    Call("PATCH", _THREAD, {"archived": True, "locked": True}),
    Call("PUT", _THREAD + "/thread-members/{bob}", status=400),
    Call("GET", _CHANNEL + "/threads/archived/public"),
    Call("GET", _CHANNEL + "/threads/archived/public?before=2020-01-01T00:00:00%2B00:00"),
    Call("POST", _CHANNEL + "/threads", {"name": "secret", "invitable": False}, status=201, save={"secret": "id"}),
    Call("POST", _CHANNEL + "/threads", {"name": "open", "type": 11}, status=201),
    Call("POST", _CHANNEL + "/threads", {"name": "", "type": 10}, status=400),
    Call("PATCH", "/channels/{secret}", {"archived": True}),
    Call("GET", _CHANNEL + "/threads/archived/private?limit=2"),
    Call("GET", _CHANNEL + "/users/@me/threads/archived/private"),
    Call("DELETE", _THREAD),
    Call("POST", _GUILD + "/channels", {"name": "forum", "type": 15}, status=201, save={"forum": "id"}),
    Call("POST", "/channels/{forum}/threads", {"name": "post", "message": {"content": "first"}}, status=201),
    Call("POST", "/channels/{forum}/threads", {"name": "post"}, status=400),
    Call("POST", "/channels/{forum}/messages", {"content": "x"}, status=400),
)
_HOOK = "/webhooks/{hook}/{hook_token}"
WEBHOOKS = (
    Call("POST", _CHANNEL + "/webhooks", {"name": "Captain"}, save={"hook": "id", "hook_token": "token"}),
    Call("POST", _CHANNEL + "/webhooks", {"name": "Clyde"}, status=400),
    Call("GET", _CHANNEL + "/webhooks"),
    Call("GET", _GUILD + "/webhooks"),
    Call("GET", "/webhooks/{hook}"),
    Call("GET", "/webhooks/{unknown}", status=404),
    Call("PATCH", "/webhooks/{hook}", {"name": "Hook"}),
    Call("GET", _HOOK),
    Call("GET", "/webhooks/{hook}/wrong", status=401),
    Call("PATCH", _HOOK, {"name": "Hooky"}),
    Call("POST", _HOOK, {"content": "quiet"}, status=204),
    Call("POST", _HOOK + "?wait=true", {**MESSAGE, "username": "U"}, save={"hooked": "id"}),
    Call("POST", _HOOK + "?wait=true", {"content": "x", "username": "discord"}, status=400),
    Call("POST", _HOOK + "?wait=true&thread_id={secret}", {"content": "x"}, save={"in_thread": "id"}),
    Call("GET", _HOOK + "/messages/{in_thread}?thread_id={secret}"),
    Call("GET", _HOOK + "/messages/{hooked}"),
    Call("PATCH", _HOOK + "/messages/{hooked}", {"content": "y"}),
    Call("DELETE", _HOOK + "/messages/{hooked}", status=204),
    Call("GET", _HOOK + "/messages/{hooked}", status=404),
    Call("DELETE", _HOOK, status=204),
    Call("POST", _CHANNEL + "/webhooks", {"name": "Other"}, save={"hook": "id"}),
    Call("DELETE", "/webhooks/{hook}", status=204),
)
DIRECT = (
    Call("POST", "/users/@me/channels", {"recipient_id": "{ann}"}, save={"dm": "id"}),
    Call("POST", "/users/@me/channels", {"recipient_id": "{unknown}"}, status=400),
    Call("POST", "/users/@me/channels", {}, status=400),
    Call("GET", "/channels/{dm}"),
    Call("POST", "/channels/{dm}/messages", {"content": "psst"}, save={"psst": "id"}),
    Call("GET", "/channels/{dm}/messages"),
    Call("DELETE", "/channels/{dm}/messages/{psst}", status=204),
    Call("PATCH", "/channels/{dm}", {"name": "x"}, status=403),
    Call("DELETE", "/channels/{dm}"),
)
TALK = (*CHANNELS, *MESSAGES, *REACTIONS, *PINS, *THREADS, *WEBHOOKS, *DIRECT)

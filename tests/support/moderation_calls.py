"""`calls` for the administration of a guild."""

from __future__ import annotations

import base64

from tests.support.calls import Call

PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(16)).decode()
_GUILD = "/guilds/{guild}"
_OVERWRITES = [{"id": "{guild}", "type": 0, "allow": "1024", "deny": 2048}]
ACCOUNTS = (
    Call("PATCH", "/users/@me", {"username": "renamed"}),
    Call("PATCH", "/users/@me", {"username": "ann"}, status=400),
    Call("PATCH", "/users/@me", {"username": "botctl-bot", "avatar": PNG}),
    Call("GET", "/users/@me/guilds?with_counts=true&limit=10"),
    Call("GET", "/applications/{app}"),
    Call("PATCH", "/applications/@me", {"description": "New", "tags": ["a", "b"]}),
    Call("PATCH", "/applications/{app}", {"flags": 1 << 15}),
    Call("PATCH", "/applications/@me", {"tags": ["a"] * 6}, status=400),
)
GUILD = (
    Call("GET", _GUILD + "/preview"),
    Call("PATCH", _GUILD, {"name": "New", "description": "D", "icon": PNG, "verification_level": 2}),
    Call("PATCH", _GUILD, {"system_channel_id": "{channel}", "rules_channel_id": "{channel}", "afk_timeout": 60}),
    Call(
        "PATCH", _GUILD, {"name": "x", "verification_level": 9, "icon": "y", "afk_channel_id": "{channel}"}, status=400
    ),
    Call("POST", _GUILD + "/channels", {"name": "Place", "type": 4}, status=201, save={"category": "id"}),
    Call(
        "POST",
        _GUILD + "/channels",
        {"name": "A B", "parent_id": "{category}", "topic": "T", "permission_overwrites": _OVERWRITES},
        status=201,
        save={"text": "id"},
    ),
    Call("POST", _GUILD + "/channels", {"name": "Talk", "type": 2, "user_limit": 3}, status=201),
    Call("POST", _GUILD + "/channels", {"name": "news", "type": 5}, status=201),
    Call("POST", _GUILD + "/channels", {"name": "stage", "type": 13}, status=201),
    Call("POST", _GUILD + "/channels", {"name": "f", "type": 15, "available_tags": [{"name": "t"}]}, status=201),
    Call("POST", _GUILD + "/channels", {"type": 9, "parent_id": "{text}"}, status=400),
    Call("POST", _GUILD + "/channels", {"name": "f", "default_reaction_emoji": {"emoji_name": {}}}, status=400),
    Call(
        "PATCH",
        _GUILD + "/channels",
        [{"id": "{text}", "position": 7, "parent_id": "{category}", "lock_permissions": True}],
        status=204,
    ),
    Call("PATCH", _GUILD + "/channels", [{"id": "{unknown}", "position": 7}], status=404),
    Call("GET", _GUILD + "/channels"),
)
ROLES = (
    Call("POST", _GUILD + "/roles", {"name": "made", "permissions": "1024", "color": 255}, save={"made": "id"}),
    Call("POST", _GUILD + "/roles", {"name": "admin", "permissions": "8"}, status=403),
    Call("POST", _GUILD + "/roles", {"unicode_emoji": "x"}, status=403),
    Call("GET", _GUILD + "/roles/{made}"),
    Call("GET", _GUILD + "/roles/{unknown}", status=404),
    Call("PATCH", _GUILD + "/roles/{made}", {"name": "kept", "hoist": True, "colors": {"primary_color": 1}}),
    Call("PATCH", _GUILD + "/roles/{made}", {"color": -1}, status=400),
    Call("PATCH", _GUILD + "/roles", [{"id": "{made}", "position": 0}]),
    Call("PATCH", _GUILD + "/roles", [{"id": "{guild}", "position": 1}], status=400),
    Call("GET", _GUILD + "/roles/member-counts"),
    Call("PUT", _GUILD + "/members/{cat}/roles/{guild}", status=404),
)
MEMBERS = (
    Call("GET", _GUILD + "/members/search?query=C&limit=5"),
    Call("GET", _GUILD + "/members/search", status=400),
    Call("PATCH", _GUILD + "/members/{cat}", {"nick": "kitten", "roles": ["{made}"]}),
    Call("PATCH", _GUILD + "/members/{cat}", {"nick": None, "roles": []}),
    Call("PATCH", _GUILD + "/members/{cat}", {"nick": "x" * 33, "roles": ["1"]}, status=400),
    Call("PATCH", _GUILD + "/members/{cat}", {"communication_disabled_until": "3000-01-01T00:00:00Z"}, status=400),
    Call("PATCH", _GUILD + "/members/@me", {"nick": "Helper"}),
    Call("GET", _GUILD + "/members/{cat}"),
    Call("DELETE", _GUILD + "/members/{cat}", status=204),
    Call("GET", _GUILD + "/members/{cat}", status=404),
    Call("GET", _GUILD + "/prune?days=7"),
    Call("POST", _GUILD + "/prune", {"days": 30, "compute_prune_count": False}),
    Call("DELETE", _GUILD + "/roles/{made}", status=204),
    Call("DELETE", _GUILD + "/roles/{guild}", status=400),
)
BANS = (
    Call("PUT", _GUILD + "/bans/{cat}", {"delete_message_seconds": 60}, status=204),
    Call("PUT", _GUILD + "/bans/{unknown}", status=404),
    Call("PUT", _GUILD + "/bans/{ann}", status=403),
    Call("GET", _GUILD + "/bans?limit=5"),
    Call("GET", _GUILD + "/bans/{cat}"),
    Call("DELETE", _GUILD + "/bans/{cat}", status=204),
    Call("GET", _GUILD + "/bans/{cat}", status=404),
    Call("DELETE", _GUILD + "/bans/{cat}", status=404),
    Call("POST", _GUILD + "/bulk-ban", {"user_ids": ["{cat}", "{ann}", "{unknown}"], "delete_message_seconds": 1}),
    Call("POST", _GUILD + "/bulk-ban", {"user_ids": ["{ann}", "{app}"]}, status=400),
    Call("POST", _GUILD + "/bulk-ban", {"user_ids": ["{app}"]}),
)
EMOJIS = (
    Call("POST", _GUILD + "/emojis", {"name": "wave", "image": PNG}, status=201, save={"emoji": "id"}),
    Call("POST", _GUILD + "/emojis", {"name": "a b", "image": "x"}, status=400),
    Call("GET", _GUILD + "/emojis"),
    Call("GET", _GUILD + "/emojis/{emoji}"),
    Call("PATCH", _GUILD + "/emojis/{emoji}", {"name": "hello", "roles": ["{role}"]}),
    Call("GET", _GUILD),
    Call("DELETE", _GUILD + "/emojis/{emoji}", status=204),
    Call("GET", _GUILD + "/emojis/{emoji}", status=404),
    Call("GET", _GUILD + "/stickers"),
)
OWN_EMOJIS = (
    Call("POST", "/applications/{app}/emojis", {"name": "own", "image": PNG}, status=201, save={"own": "id"}),
    Call("GET", "/applications/{app}/emojis"),
    Call("GET", "/applications/{app}/emojis/{own}"),
    Call("PATCH", "/applications/{app}/emojis/{own}", {"name": "mine"}),
    Call("PATCH", "/applications/{app}/emojis/{own}", {"name": "a b"}, status=400),
    Call("DELETE", "/applications/{app}/emojis/{own}", status=204),
    Call("GET", "/applications/{app}/emojis/{own}", status=404),
    Call("GET", "/applications/{unknown}/emojis", status=403),
)
INVITES = (
    Call("POST", "/channels/{channel}/invites", {"max_age": 60, "max_uses": 3}, save={"code": "code"}),
    Call("POST", "/channels/{channel}/invites", {"max_age": -1}, status=400),
    Call("POST", "/channels/{category}/invites", {}, status=400),
    Call("GET", "/channels/{channel}/invites"),
    Call("GET", _GUILD + "/invites"),
    Call("GET", "/invites/{code}?with_counts=true"),
    Call("DELETE", "/invites/{code}"),
    Call("GET", "/invites/{code}", status=404),
)
LOG = (
    Call("GET", _GUILD + "/audit-logs"),
    Call("GET", _GUILD + "/audit-logs?user_id={app}&action_type=22&limit=2&before=9999999999999999999"),
    Call("GET", _GUILD + "/audit-logs?after=1&limit=101", status=400),
)
_RULES = _GUILD + "/auto-moderation/rules"
_WORD = {"name": "words", "event_type": 1, "trigger_type": 1, "trigger_metadata": {"keyword_filter": ["bad"]}}
_SPAM = {"name": "spam", "event_type": 1, "trigger_type": 3}
_ALERT = {"type": 2, "metadata": {"channel_id": "{channel}"}}
_BLOCK = {"type": 1, "metadata": {"custom_message": "no"}}
_TIME_OUT = {"type": 3, "metadata": {"duration_seconds": 60}}
AUTO_MODERATION = (
    Call("POST", _RULES, {**_WORD, "actions": [_BLOCK, _ALERT, _TIME_OUT], "enabled": True}, save={"rule": "id"}),
    Call("POST", _RULES, {**_SPAM, "trigger_type": 3, "actions": [_BLOCK], "exempt_roles": ["{role}"]}),
    Call("POST", _RULES, {**_SPAM, "trigger_type": 3, "actions": [_BLOCK]}, status=400),
    Call("POST", _RULES, {**_SPAM, "trigger_type": 4, "trigger_metadata": {"presets": [1]}, "actions": [_ALERT]}),
    Call("POST", _RULES, {**_SPAM, "trigger_type": 5, "actions": [{"type": 1}]}),
    Call("POST", _RULES, {**_SPAM, "trigger_type": 6, "event_type": 2, "actions": [{"type": 4}]}),
    Call("POST", _RULES, {**_WORD, "name": "x" * 101, "event_type": 3, "actions": []}, status=400),
    Call("POST", _RULES, {**_WORD, "actions": [{"type": 2}, {"type": 4}, {}]}, status=400),
    Call("GET", _RULES),
    Call("GET", _RULES + "/{rule}"),
    Call("PATCH", _RULES + "/{rule}", {"name": "more", "enabled": False, "trigger_metadata": {"allow_list": ["good"]}}),
    Call("DELETE", _RULES + "/{rule}", status=204),
    Call("GET", _RULES + "/{rule}", status=404),
)
_EVENTS = _GUILD + "/scheduled-events"
_MEET = {"name": "Meet", "privacy_level": 2, "scheduled_start_time": "2999-01-01T00:00:00Z"}
_OUT = {**_MEET, "entity_type": 3, "entity_metadata": {"location": "Here"}}
_EVENING = {**_OUT, "scheduled_end_time": "2999-01-01T01:00:00Z"}
_WEEKLY = {"start": "2999-01-01T00:00:00Z", "frequency": 2, "by_weekday": [1], "by_n_weekday": [{"n": 1, "day": 2}]}
EVENTS = (
    Call("POST", _GUILD + "/channels", {"name": "Voice", "type": 2}, status=201, save={"voice": "id"}),
    Call("POST", _EVENTS, {**_EVENING, "image": PNG, "recurrence_rule": _WEEKLY}, save={"event": "id"}),
    Call("POST", _EVENTS, {**_MEET, "entity_type": 2, "channel_id": "{voice}"}),
    Call("POST", _EVENTS, {**_MEET, "entity_type": 1, "channel_id": "{voice}"}, status=400),
    Call("POST", _EVENTS, {**_OUT, "scheduled_end_time": "2998-01-01T00:00:00Z"}, status=400),
    Call("POST", _EVENTS, _OUT, status=400),
    Call("POST", _EVENTS, {**_OUT, "entity_type": 4}, status=400),
    Call("POST", _EVENTS, {**_EVENING, "scheduled_start_time": "2020-01-01T00:00:00Z"}, status=400),
    Call("GET", _EVENTS + "?with_user_count=true"),
    Call("GET", _EVENTS + "/{event}?with_user_count=true"),
    Call("GET", _EVENTS + "/{event}/users"),
    Call("PATCH", _EVENTS + "/{event}", {"status": 3}, status=400),
    Call("PATCH", _EVENTS + "/{event}", {"status": 2, "description": "now"}),
    Call("PATCH", _EVENTS + "/{event}", {"status": 3}),
    Call("PATCH", _EVENTS + "/{event}", {"name": "late"}, status=400),
    Call("DELETE", _EVENTS + "/{event}", status=204),
    Call("GET", _EVENTS + "/{event}", status=404),
    Call("DELETE", "/channels/{voice}"),
    Call("GET", _EVENTS),
)
_QUESTION = {"id": "0", "title": "Why?", "options": [{"title": "So", "role_ids": ["{role}"], "emoji_name": "x"}]}
NEWCOMERS = (
    Call("GET", _GUILD + "/welcome-screen", status=404),
    Call(
        "PATCH",
        _GUILD + "/welcome-screen",
        {"enabled": True, "description": "Hi", "welcome_channels": [{"channel_id": "{channel}", "description": "d"}]},
    ),
    Call("PATCH", _GUILD + "/welcome-screen", {"welcome_channels": [{"channel_id": "1"}]}, status=400),
    Call("GET", _GUILD + "/welcome-screen"),
    Call("GET", _GUILD + "/onboarding"),
    Call("PUT", _GUILD + "/onboarding", {"prompts": [_QUESTION], "default_channel_ids": ["{channel}"], "mode": 1}),
    Call("PUT", _GUILD + "/onboarding", {"enabled": True}, status=400),
    Call("PUT", _GUILD + "/onboarding", {"prompts": [{"title": "x", "options": []}]}, status=400),
    Call("GET", _GUILD + "/widget"),
    Call("GET", _GUILD + "/widget.json", status=403),
    Call("PATCH", _GUILD + "/widget", {"enabled": True, "channel_id": "{channel}"}),
    Call("GET", _GUILD + "/widget.json"),
)
ANSWERS = (
    Call("GET", "/voice/regions"),
    Call("GET", _GUILD + "/regions"),
    Call("GET", _GUILD + "/vanity-url"),
    Call("GET", _GUILD + "/integrations"),
    Call("PUT", _GUILD + "/incident-actions", {"invites_disabled_until": "2999-01-01T00:00:00Z"}, status=400),
    Call("PUT", _GUILD + "/incident-actions", {"dms_disabled_until": "2020-01-01T00:00:00Z"}),
    Call("GET", _GUILD),
    Call("GET", "/applications/{app}/entitlements"),
    Call("GET", "/sticker-packs"),
)
LEAVING = (
    Call("DELETE", "/users/@me/guilds/{guild}", status=204),
    Call("DELETE", "/users/@me/guilds/{guild}", status=404),
    Call("GET", _GUILD, status=404),
)
MODERATION = (
    *ACCOUNTS,
    *GUILD,
    *ROLES,
    *MEMBERS,
    *BANS,
    *EMOJIS,
    *OWN_EMOJIS,
    *INVITES,
    *AUTO_MODERATION,
    *EVENTS,
    *NEWCOMERS,
    *ANSWERS,
    *LOG,
    *LEAVING,
)

"""Guild administration over REST: permissions, role hierarchy, events and the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import disnake
import pytest

from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import permission_bits, permissions
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.model.limits import LENIENT
from botctl.sandbox.model.permission_bits import bits
from botctl.sandbox.model.world import Channel, Emoji, Guild, Invite, Message, Role, User, World
from botctl.sandbox.rest import routing
from botctl.sandbox.storage.world_file import restore, snapshot
from tests.support.calls import matching_route
from tests.support.discord import (
    ADMIN,
    ANN,
    BOB,
    BOT,
    CAT,
    GENERAL,
    GUILD,
    MODERATOR,
    STAFF,
    Bot,
    Discord,
    local_discord,
)
from tests.support.moderation_calls import PNG

BOT_ROLE = "900000000000000203"
LOW, HIGH, SAME = "900000000000000211", "900000000000000212", "900000000000000213"
DAN, EMOJI, CODE, CATEGORY = "900000000000000104", "900000000000000401", "abc", "900000000000000303"
G = f"/guilds/{GUILD}"
MISSING = (403, 50013)
SOON = "2026-01-01T00:00:00+00:00"
NOT_ADMIN = permission_bits.ALL & ~permission_bits.ADMINISTRATOR
RULE, EVENT = "900000000000000501", "900000000000000601"
WORDS = {"name": "words", "event_type": 1, "trigger_type": 1, "trigger_metadata": {"keyword_filter": ["bad"]}}
WORDS |= {"actions": [{"type": 3, "metadata": {"duration_seconds": 60}}]}
HERE = {"entity_type": 3, "entity_metadata": {"location": "Here"}, "privacy_level": 2}
MEETING = {"name": "Meet", **HERE, "scheduled_start_time": "2999-01-01T00:00:00Z"}
MEETING |= {"scheduled_end_time": "2999-01-01T01:00:00Z"}


def ranked_world(url: str = "") -> World:
    """The default world; the bot's role has all permissions but one and ranks between Low and High."""
    world = default_world(url=url)
    guild = world.guilds[GUILD]
    guild.roles[BOT_ROLE].position, guild.roles[BOT_ROLE].permissions = 10, NOT_ADMIN
    for role_id, name, position in ((LOW, "Low", 1), (HIGH, "High", 20), (SAME, "Same", 10)):
        guild.roles[role_id] = Role(role_id, name, position, permissions=0)
    guild.roles[ADMIN].position = 20
    guild.emojis[EMOJI] = Emoji(EMOJI, "wave", ANN)
    world.add_channel(Channel(CATEGORY, GUILD, "Place", type=4))
    guild.bans[DAN] = "spam"
    world.add_user(User(DAN, "dan"))
    world.invites[CODE] = Invite(CODE, GUILD, GENERAL, ANN, world.timestamp(), max_age_s=0)
    rule = {"trigger_metadata": {}, "actions": [], "exempt_roles": [], "exempt_channels": [], "enabled": False}
    rule |= {"name": "spam", "event_type": 1, "trigger_type": 3}
    guild.auto_moderation[RULE] = {"id": RULE, "guild_id": GUILD, "creator_id": ANN, **rule}
    event: dict[str, Any] = dict.fromkeys(("description", "channel_id", "entity_id", "image", "recurrence_rule"))
    event |= {**MEETING, "status": 1, "guild_scheduled_event_exceptions": []}
    guild.scheduled_events[EVENT] = {"id": EVENT, "guild_id": GUILD, "creator_id": ANN, **event}
    return world


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    async with local_discord(ranked_world) as running:
        yield running


def guild_of(discord: Discord) -> Guild:
    return discord.sandbox.world.guilds[GUILD]


async def error_of(discord: Discord, method: str, path: str, body: Any = None) -> tuple[int, int]:
    """The status and error code; (status, 0) without an error."""
    status, response = await discord.rest(method, path, **({} if body is None else {"json": body}))
    return status, response.get("code", 0) if isinstance(response, dict) and status >= 400 else 0


async def request(discord: Discord, method: str, path: str, body: Any = None, reason: str | None = None) -> Any:
    headers = {"Authorization": "Bot sandbox-token"} | ({"X-Audit-Log-Reason": reason} if reason else {})
    arguments = {} if body is None else {"json": body}
    async with discord.http.request(method, f"{discord.url}/api/v10{path}", headers=headers, **arguments) as answer:
        text = await answer.text()
        assert answer.status < 300, (method, path, answer.status, text)
        return await answer.json() if text else None


# Permissions


@dataclass(frozen=True)
class PermissionCase:
    """A request and its required permissions; with ``any_of`` one of them is enough."""

    method: str
    path: str
    names: str
    body: Any = None
    any_of: bool = False

    def masks_without(self) -> list[int]:
        masks = [bits(name) for name in self.names.split()]
        return [sum(masks)] if self.any_of else masks


SECOND = f"{G}/members/{CAT}"
NEEDS = (
    PermissionCase("PATCH", G, "MANAGE_GUILD", {"name": "New"}),
    PermissionCase("POST", G + "/channels", "MANAGE_CHANNELS", {"name": "x"}),
    PermissionCase("PATCH", G + "/channels", "MANAGE_CHANNELS", [{"id": GENERAL, "position": 5}]),
    PermissionCase("POST", G + "/roles", "MANAGE_ROLES", {}),
    PermissionCase("PATCH", G + "/roles", "MANAGE_ROLES", [{"id": LOW, "position": 2}]),
    PermissionCase("PATCH", f"{G}/roles/{LOW}", "MANAGE_ROLES", {"name": "Lower"}),
    PermissionCase("PUT", f"{SECOND}/roles/{LOW}", "MANAGE_ROLES"),
    PermissionCase("DELETE", f"{SECOND}/roles/{LOW}", "MANAGE_ROLES"),
    PermissionCase("DELETE", f"{G}/roles/{LOW}", "MANAGE_ROLES"),
    PermissionCase("PATCH", SECOND, "MANAGE_NICKNAMES", {"nick": "k"}),
    PermissionCase("PATCH", SECOND, "MANAGE_ROLES", {"roles": []}),
    PermissionCase("PATCH", SECOND, "MODERATE_MEMBERS", {"communication_disabled_until": SOON}),
    PermissionCase("PATCH", SECOND, "MUTE_MEMBERS", {"mute": None}),
    PermissionCase("PATCH", SECOND, "DEAFEN_MEMBERS", {"deaf": None}),
    PermissionCase("PATCH", SECOND, "MOVE_MEMBERS", {"channel_id": None}),
    PermissionCase("PATCH", G + "/members/@me", "CHANGE_NICKNAME", {"nick": "Me"}),
    PermissionCase("GET", G + "/prune", "KICK_MEMBERS MANAGE_GUILD"),
    PermissionCase("POST", G + "/prune", "KICK_MEMBERS MANAGE_GUILD", {"days": 30}),
    PermissionCase("GET", G + "/bans", "BAN_MEMBERS"),
    PermissionCase("GET", f"{G}/bans/{DAN}", "BAN_MEMBERS"),
    PermissionCase("DELETE", f"{G}/bans/{DAN}", "BAN_MEMBERS"),
    PermissionCase("PUT", f"{G}/bans/{DAN}", "BAN_MEMBERS", {}),
    PermissionCase("DELETE", f"{G}/members/{BOB}", "KICK_MEMBERS"),
    PermissionCase("POST", G + "/bulk-ban", "BAN_MEMBERS MANAGE_GUILD", {"user_ids": [BOB]}),
    PermissionCase("POST", G + "/emojis", "CREATE_GUILD_EXPRESSIONS", {"name": "hello", "image": PNG}),
    PermissionCase("PATCH", f"{G}/emojis/{EMOJI}", "MANAGE_GUILD_EXPRESSIONS", {"name": "waves"}),
    PermissionCase("DELETE", f"{G}/emojis/{EMOJI}", "MANAGE_GUILD_EXPRESSIONS"),
    PermissionCase("POST", f"/channels/{GENERAL}/invites", "CREATE_INSTANT_INVITE", {}),
    PermissionCase("GET", f"/channels/{GENERAL}/invites", "MANAGE_CHANNELS"),
    PermissionCase("GET", G + "/invites", "MANAGE_GUILD VIEW_AUDIT_LOG", any_of=True),
    PermissionCase("DELETE", f"/invites/{CODE}", "MANAGE_CHANNELS MANAGE_GUILD", any_of=True),
    PermissionCase("GET", G + "/audit-logs", "VIEW_AUDIT_LOG"),
    PermissionCase("GET", G + "/auto-moderation/rules", "MANAGE_GUILD"),
    PermissionCase("GET", f"{G}/auto-moderation/rules/{RULE}", "MANAGE_GUILD"),
    PermissionCase("POST", G + "/auto-moderation/rules", "MANAGE_GUILD MODERATE_MEMBERS", WORDS),
    PermissionCase("PATCH", f"{G}/auto-moderation/rules/{RULE}", "MANAGE_GUILD", {"enabled": True}),
    PermissionCase("DELETE", f"{G}/auto-moderation/rules/{RULE}", "MANAGE_GUILD"),
    PermissionCase("POST", G + "/scheduled-events", "CREATE_EVENTS", MEETING),
    PermissionCase("PATCH", f"{G}/scheduled-events/{EVENT}", "MANAGE_EVENTS", {"name": "Later"}),
    PermissionCase("DELETE", f"{G}/scheduled-events/{EVENT}", "MANAGE_EVENTS"),
    PermissionCase("PATCH", G + "/welcome-screen", "MANAGE_GUILD", {"enabled": False}),
    PermissionCase("GET", G + "/welcome-screen", "MANAGE_GUILD"),  # while it is disabled
    PermissionCase("PUT", G + "/onboarding", "MANAGE_GUILD MANAGE_ROLES", {"mode": 0}),
    PermissionCase("GET", G + "/widget", "MANAGE_GUILD"),
    PermissionCase("PATCH", G + "/widget", "MANAGE_GUILD", {"enabled": True}),
    PermissionCase("GET", G + "/vanity-url", "MANAGE_GUILD"),
    PermissionCase("GET", G + "/integrations", "MANAGE_GUILD"),
    PermissionCase("PUT", G + "/incident-actions", "MANAGE_GUILD", {"dms_disabled_until": SOON}),
)
FREE = {
    ("GET", "/guilds/{guild}"),
    ("GET", "/guilds/{guild}/preview"),
    ("GET", "/guilds/{guild}/channels"),
    ("GET", "/guilds/{guild}/roles"),
    ("GET", "/guilds/{guild}/roles/member-counts"),
    ("GET", "/guilds/{guild}/roles/{role}"),
    ("GET", "/guilds/{guild}/members"),
    ("GET", "/guilds/{guild}/members/search"),
    ("GET", "/guilds/{guild}/members/{user}"),
    ("GET", "/guilds/{guild}/emojis"),
    ("GET", "/guilds/{guild}/emojis/{emoji}"),
    ("GET", "/guilds/{guild}/stickers"),
    ("GET", "/soundboard-default-sounds"),
    ("GET", "/invites/{code}"),
    ("GET", "/guilds/{guild}/scheduled-events"),
    ("GET", "/guilds/{guild}/scheduled-events/{event}"),
    ("GET", "/guilds/{guild}/scheduled-events/{event}/users"),
    ("GET", "/guilds/{guild}/onboarding"),
    ("GET", "/guilds/{guild}/widget.json"),
    ("GET", "/guilds/{guild}/regions"),
    ("GET", "/voice/regions"),
    ("GET", "/applications/{application}/entitlements"),
    ("GET", "/sticker-packs"),
    ("GET", "/users/@me/guilds"),
    ("DELETE", "/users/@me/guilds/{guild}"),
}
"""Allowed for every bot in the guild."""

_MODULES = ("audit_log", "bans", "emojis", "guild_channels", "guilds", "invites", "members", "roles")
_MODULES += ("auto_moderation", "scheduled_events", "newcomers", "answers")


def test_every_route_declares_its_permissions() -> None:
    named = {(need.method, matching_route(need.method, need.path)) for need in NEEDS}
    ours = {
        (route.method, route.path)
        for route in routing.ROUTES
        if route.function.__module__.rpartition(".")[2] in _MODULES
    }
    assert ours - named - FREE == set()
    assert named & FREE == set()


async def test_request_needs_its_permission(discord: Discord) -> None:
    role, everyone = guild_of(discord).roles[BOT_ROLE], guild_of(discord).roles[GUILD]
    for need in NEEDS:
        for lacking in need.masks_without():
            role.permissions, everyone.permissions = NOT_ADMIN & ~lacking, permission_bits.EVERYONE & ~lacking
            assert await error_of(discord, need.method, need.path, need.body) == MISSING, need
        role.permissions = NOT_ADMIN
        await request(discord, need.method, need.path, need.body)


@pytest.mark.parametrize("path", [G, G + "/roles", G + "/bans", f"{G}/members/{CAT}", G + "/audit-logs"])
async def test_guild_without_the_bot_is_unknown(discord: Discord, path: str) -> None:
    del guild_of(discord).members[BOT]
    assert await error_of(discord, "GET", path) == (404, 10004)


async def test_hidden_channel_is_50001(discord: Discord) -> None:
    await discord.act("world", set_overwrite={"channel": "general", "role": "everyone", "deny": ["VIEW_CHANNEL"]})
    assert await error_of(discord, "POST", f"/channels/{GENERAL}/invites", {}) == (403, 50001)


async def test_listing_members_needs_the_privileged_intent(discord: Discord) -> None:
    thread = await request(discord, "POST", f"/channels/{GENERAL}/threads", {"name": "t"})
    members = f"/channels/{thread['id']}/thread-members"
    await request(discord, "GET", members)
    discord.sandbox.world.applications[BOT].flags = 0
    assert await error_of(discord, "GET", G + "/members") == (403, 50001)
    assert await error_of(discord, "GET", members) == (403, 50001)


# Role hierarchy

RANKED = (
    ("DELETE", "/members/{user}", None),
    ("PUT", "/bans/{user}", {}),
    ("PATCH", "/members/{user}", {"nick": "x"}),
    ("PATCH", "/members/{user}", {"communication_disabled_until": SOON}),
)


@pytest.mark.parametrize(("method", "path", "body"), RANKED)
@pytest.mark.parametrize("role", [HIGH, SAME, None])
async def test_owner_and_higher_members_cannot_be_moderated(
    discord: Discord, method: str, path: str, body: Any, role: str | None
) -> None:
    guild_of(discord).members[CAT].roles = [role] if role else []
    target = CAT if role else ANN
    assert await error_of(discord, method, G + path.format(user=target), body) == MISSING


@pytest.mark.parametrize(("method", "path", "body"), RANKED)
async def test_lower_member_can_be_moderated(discord: Discord, method: str, path: str, body: Any) -> None:
    guild_of(discord).members[CAT].roles = [LOW]
    await request(discord, method, G + path.format(user=CAT), body)


@pytest.mark.parametrize(
    ("method", "path", "body", "answer"),
    [
        ("PATCH", f"/roles/{HIGH}", {"name": "x"}, MISSING),
        ("PATCH", f"/roles/{SAME}", {"name": "x"}, MISSING),
        ("DELETE", f"/roles/{HIGH}", None, MISSING),
        ("DELETE", f"/roles/{BOT_ROLE}", None, (400, 50028)),
        ("DELETE", f"/roles/{GUILD}", None, (400, 50028)),
        ("PATCH", "/roles", [{"id": LOW, "position": 10}], MISSING),
        ("PATCH", "/roles", [{"id": HIGH, "position": 1}], MISSING),
        ("PUT", f"/members/{CAT}/roles/{HIGH}", None, MISSING),
        ("PUT", f"/members/{CAT}/roles/{BOT_ROLE}", None, (400, 50028)),
        ("PUT", f"/members/{CAT}/roles/1", None, (404, 10011)),
        ("PUT", f"/members/{CAT}/roles/{GUILD}", None, (404, 10011)),
        ("DELETE", f"/members/{CAT}/roles/{GUILD}", None, (404, 10011)),
        ("GET", f"/members/{DAN}", None, (404, 10007)),
        ("GET", "/members/1", None, (404, 10013)),
        ("PATCH", f"/members/{CAT}", {"roles": [LOW, HIGH]}, MISSING),
        ("POST", "/roles", {"permissions": "8"}, MISSING),
        ("PATCH", f"/roles/{LOW}", {"permissions": "8"}, MISSING),
        ("PATCH", f"/members/{CAT}", {"mute": True}, (400, 40032)),
        ("PUT", "/bans/1", {}, (404, 10013)),
    ],
)
async def test_role_hierarchy_limits_a_bot(
    discord: Discord, method: str, path: str, body: Any, answer: tuple[int, int]
) -> None:
    assert await error_of(discord, method, G + path, body) == answer


async def test_existing_permission_may_stay_even_if_the_bot_lacks_it(discord: Discord) -> None:
    guild_of(discord).roles[LOW].permissions = permission_bits.ADMINISTRATOR
    await request(
        discord, "PATCH", f"{G}/roles/{LOW}", {"permissions": str(permission_bits.ADMINISTRATOR | permission_bits.SEND)}
    )
    assert await error_of(discord, "PATCH", f"{G}/roles/{LOW}", {"permissions": "0"}) == MISSING


async def test_administrators_cannot_be_timed_out(discord: Discord) -> None:
    guild_of(discord).roles[LOW].permissions = permission_bits.ADMINISTRATOR
    guild_of(discord).members[CAT].roles = [LOW]
    until = {"communication_disabled_until": discord.sandbox.world.timestamp()}
    assert await error_of(discord, "PATCH", f"{G}/members/{CAT}", until) == MISSING


async def test_timeout_lasts_at_most_28_days_and_expires(discord: Discord) -> None:
    def until(days: float) -> dict[str, str]:
        end = discord.sandbox.clock.now() + timedelta(days=days)
        return {"communication_disabled_until": end.isoformat()}

    assert await error_of(discord, "PATCH", f"{G}/members/{CAT}", until(28.1)) == (400, 50035)
    await request(discord, "PATCH", f"{G}/members/{CAT}", until(27.9))
    member, world = guild_of(discord).members[CAT], discord.sandbox.world
    assert permissions.compute(world, guild_of(discord), member) & permission_bits.SEND == 0
    await discord.act("clock", advance_s=28 * 86_400)
    assert permissions.compute(world, guild_of(discord), member) & permission_bits.SEND


async def test_new_channel_overwrites_need_the_bots_own_permissions(discord: Discord) -> None:
    guild_of(discord).roles[BOT_ROLE].permissions = NOT_ADMIN & ~bits("BAN_MEMBERS")
    for name in ("BAN_MEMBERS", "MANAGE_ROLES"):
        overwrites = [{"id": GUILD, "type": 0, "deny": str(bits(name))}]
        body = {"name": "x", "permission_overwrites": overwrites}
        assert await error_of(discord, "POST", G + "/channels", body) == MISSING


# Events and audit log

CHANGES: tuple[tuple[str, str, Any, list[str], AuditAction | None], ...] = (
    ("PATCH", G, {"name": "New"}, ["GUILD_UPDATE"], AuditAction.GUILD_UPDATE),
    ("POST", G + "/channels", {"name": "x"}, ["CHANNEL_CREATE"], AuditAction.CHANNEL_CREATE),
    ("PATCH", G + "/channels", [{"id": STAFF, "position": 9}], ["CHANNEL_UPDATE"], AuditAction.CHANNEL_UPDATE),
    ("POST", G + "/roles", {"name": "r"}, ["GUILD_ROLE_CREATE"], AuditAction.ROLE_CREATE),
    ("PATCH", f"{G}/roles/{LOW}", {"hoist": True}, ["GUILD_ROLE_UPDATE"], AuditAction.ROLE_UPDATE),
    ("PUT", f"{G}/members/{CAT}/roles/{LOW}", None, ["GUILD_MEMBER_UPDATE"], AuditAction.MEMBER_ROLE_UPDATE),
    ("DELETE", f"{G}/roles/{LOW}", None, ["GUILD_ROLE_DELETE"], AuditAction.ROLE_DELETE),
    ("PATCH", f"{G}/members/{CAT}", {"nick": "k"}, ["GUILD_MEMBER_UPDATE"], AuditAction.MEMBER_UPDATE),
    ("DELETE", f"{G}/members/{CAT}", None, ["GUILD_MEMBER_REMOVE"], AuditAction.MEMBER_KICK),
    ("PUT", f"{G}/bans/{BOB}", {}, ["GUILD_BAN_ADD", "GUILD_MEMBER_REMOVE"], AuditAction.MEMBER_BAN_ADD),
    ("DELETE", f"{G}/bans/{BOB}", None, ["GUILD_BAN_REMOVE"], AuditAction.MEMBER_BAN_REMOVE),
    ("POST", G + "/prune", {"days": 1}, [], AuditAction.MEMBER_PRUNE),
    ("POST", G + "/emojis", {"name": "hello", "image": PNG}, ["GUILD_EMOJIS_UPDATE"], AuditAction.EMOJI_CREATE),
    ("PATCH", f"{G}/emojis/{EMOJI}", {"name": "by"}, ["GUILD_EMOJIS_UPDATE"], AuditAction.EMOJI_UPDATE),
    ("DELETE", f"{G}/emojis/{EMOJI}", None, ["GUILD_EMOJIS_UPDATE"], AuditAction.EMOJI_DELETE),
    ("POST", f"/channels/{GENERAL}/invites", {}, ["INVITE_CREATE"], AuditAction.INVITE_CREATE),
    ("DELETE", f"/invites/{CODE}", None, ["INVITE_DELETE"], AuditAction.INVITE_DELETE),
    (
        "POST",
        G + "/auto-moderation/rules",
        WORDS,
        ["AUTO_MODERATION_RULE_CREATE"],
        AuditAction.AUTO_MODERATION_RULE_CREATE,
    ),
    (
        "PATCH",
        f"{G}/auto-moderation/rules/{RULE}",
        {"name": "x"},
        ["AUTO_MODERATION_RULE_UPDATE"],
        AuditAction.AUTO_MODERATION_RULE_UPDATE,
    ),
    (
        "DELETE",
        f"{G}/auto-moderation/rules/{RULE}",
        None,
        ["AUTO_MODERATION_RULE_DELETE"],
        AuditAction.AUTO_MODERATION_RULE_DELETE,
    ),
    (
        "POST",
        G + "/scheduled-events",
        MEETING,
        ["GUILD_SCHEDULED_EVENT_CREATE"],
        AuditAction.GUILD_SCHEDULED_EVENT_CREATE,
    ),
    (
        "PATCH",
        f"{G}/scheduled-events/{EVENT}",
        {"status": 2},
        ["GUILD_SCHEDULED_EVENT_UPDATE"],
        AuditAction.GUILD_SCHEDULED_EVENT_UPDATE,
    ),
    (
        "DELETE",
        f"{G}/scheduled-events/{EVENT}",
        None,
        ["GUILD_SCHEDULED_EVENT_DELETE"],
        AuditAction.GUILD_SCHEDULED_EVENT_DELETE,
    ),
    ("PUT", G + "/onboarding", {"mode": 1}, [], AuditAction.ONBOARDING_UPDATE),
    ("PATCH", G + "/widget", {"enabled": True}, ["GUILD_UPDATE"], AuditAction.GUILD_UPDATE),
    ("PUT", G + "/incident-actions", {"dms_disabled_until": SOON}, ["GUILD_UPDATE"], AuditAction.GUILD_UPDATE),
    ("PATCH", "/users/@me", {"username": "other"}, ["USER_UPDATE"], None),
)


async def test_change_is_dispatched_and_logged_with_its_reason(discord: Discord) -> None:
    async with discord.wire() as wire:
        await wire.identify()
        while (await wire.hear())["t"] != "GUILD_CREATE":
            pass
        for method, path, body, events, action in CHANGES:
            await request(discord, method, path, body, reason="because%20of%20%C3%A4")
            for event in events:
                assert (await wire.hear())["t"] == event, (method, path)
            if action is not None:
                entry = (await wire.hear())["d"]
                assert (entry["action_type"], entry["user_id"], entry["guild_id"]) == (action, BOT, GUILD)
                assert entry["reason"] == "because of ä"
    log = await request(discord, "GET", G + "/audit-logs?limit=100")
    assert [audit_log_entry["action_type"] for audit_log_entry in log["audit_log_entries"]] == [
        audit_log_entry[4] for audit_log_entry in CHANGES[::-1] if audit_log_entry[4]
    ]
    assert {user["id"] for user in log["users"]} >= {BOT, CAT, BOB}


async def test_change_without_effect_is_not_dispatched(discord: Discord) -> None:
    for method, path, body in (
        ("PATCH", G, {"name": guild_of(discord).name}),
        ("PATCH", f"{G}/roles/{LOW}", {"name": "Low"}),
        ("DELETE", f"{G}/members/{CAT}/roles/{LOW}", None),
        ("PUT", f"{G}/bans/{DAN}", {}),
    ):
        await request(discord, method, path, body)
    assert guild_of(discord).audit_log == []


async def test_audit_log_event_needs_view_audit_log(discord: Discord) -> None:
    guild_of(discord).roles[BOT_ROLE].permissions = NOT_ADMIN & ~bits("VIEW_AUDIT_LOG")
    async with discord.wire() as wire:
        await wire.identify()
        await request(discord, "PATCH", f"{G}/members/@me", {"nick": "a"})
        await request(discord, "PATCH", G, {"name": "New"})
        assert (await wire.hear_until("GUILD_MEMBER_UPDATE"))["d"]["nick"] == "a"
        assert (await wire.hear())["t"] == "GUILD_UPDATE"


async def test_audit_log_is_filtered_by_user_action_and_time(discord: Discord) -> None:
    for number in range(3):
        await request(discord, "PATCH", f"{G}/members/@me", {"nick": f"n{number}"})
    await discord.act("world", ban={"user": "cat", "reason": "spam"})
    whole = (await request(discord, "GET", G + "/audit-logs"))["audit_log_entries"]
    ids = [entry["id"] for entry in whole]
    assert [entry["user_id"] for entry in whole] == [ANN, BOT, BOT, BOT]
    assert whole[1]["changes"] == [{"key": "nick", "old_value": "n1", "new_value": "n2"}]

    async def entry_ids(query: str) -> list[str]:
        log = await request(discord, "GET", f"{G}/audit-logs?{query}")
        return [entry["id"] for entry in log["audit_log_entries"]]

    assert await entry_ids(f"user_id={ANN}") == await entry_ids("action_type=22") == ids[:1]
    assert await entry_ids(f"before={ids[1]}&limit=1") == ids[2:3]
    assert await entry_ids(f"after={ids[3]}&limit=2") == [ids[2], ids[1]]


@pytest.mark.parametrize(("said", "event"), [(1, "MESSAGE_DELETE"), (3, "MESSAGE_DELETE_BULK")])
async def test_ban_deletes_messages_and_blocks_joining(discord: Discord, said: int, event: str) -> None:
    world = discord.sandbox.world
    world.add_message(Message("5", GENERAL, GUILD, CAT, "2020-01-01T00:00:00.000000+00:00", "long ago"))
    for text in range(said):
        await discord.act("send", text=f"spam {text}", **{"as": "cat"})
    await discord.act("send", text="hi", **{"as": "bob"})
    async with discord.wire() as wire:
        await wire.identify()
        await request(discord, "PUT", f"{G}/bans/{CAT}", {"delete_message_seconds": 3600}, reason="spam")
        event_data = (await wire.hear_until(event))["d"]
        assert len(event_data.get("ids", ["one"])) == said
    assert [message.content for message in world.messages[GENERAL].values()] == ["long ago", "hi"]
    assert (await request(discord, "GET", f"{G}/bans/{CAT}"))["reason"] == "spam"
    status, response = await discord.control("POST", "world", {"add_member": {"name": "cat"}})
    assert (status, response["error"]) == (400, "cat is banned from Botctl Test Guild.")
    await discord.act("world", unban={"user": "cat"})
    await discord.act("world", add_member={"name": "cat"})


async def test_bans_are_listed_by_id(discord: Discord) -> None:
    everybody = guild_of(discord).bans
    everybody |= {ANN: None, BOB: None}

    async def banned_ids(query: str) -> list[str]:
        return [ban["user"]["id"] for ban in await request(discord, "GET", f"{G}/bans?{query}")]

    assert await banned_ids("") == [ANN, BOB, DAN]
    assert await banned_ids(f"after={ANN}&limit=1") == await banned_ids(f"before={DAN}&limit=1") == [BOB]


async def test_bulk_ban_skips_members_it_may_not_ban(discord: Discord) -> None:
    result = await request(discord, "POST", G + "/bulk-ban", {"user_ids": [CAT, ANN, "1", DAN]})
    assert result == {"banned_users": [CAT], "failed_users": [ANN, "1", DAN]}
    assert await error_of(discord, "POST", G + "/bulk-ban", {"user_ids": [ANN]}) == (400, 500000)


async def test_prune_removes_inactive_members_without_roles(discord: Discord) -> None:
    await discord.act("world", add_member={"name": "eve"})
    await discord.act("clock", advance_s=8 * 86_400)
    await discord.act("world", add_member={"name": "new"})
    assert await request(discord, "GET", G + "/prune?days=7") == {"pruned": 2}
    await discord.act("send", text="still here", **{"as": "cat"})
    assert await request(discord, "GET", f"{G}/prune?days=7&include_roles={MODERATOR}") == {"pruned": 2}
    assert await request(discord, "POST", G + "/prune", {"days": 7}) == {"pruned": 1}
    names = {discord.sandbox.world.users[user_id].name for user_id in guild_of(discord).members}
    assert names == {"ann", "bob", "cat", "new", "botctl-bot"}


async def test_invite_expires_by_the_clock_and_is_reused(discord: Discord) -> None:
    path = f"/channels/{GENERAL}/invites"
    first = await request(discord, "POST", path, {"max_age": 60})
    assert (await request(discord, "POST", path, {"max_age": 60}))["code"] == first["code"]
    assert (await request(discord, "POST", path, {"max_age": 60, "unique": True}))["code"] != first["code"]
    assert len(await request(discord, "GET", path)) == 3
    await discord.act("clock", advance_s=61)
    assert await error_of(discord, "GET", f"/invites/{first['code']}") == (404, 10006)
    assert [invite["code"] for invite in await request(discord, "GET", G + "/invites")] == [CODE]


async def test_leaving_bot_loses_its_managed_role(discord: Discord) -> None:
    async with discord.wire() as wire:
        await wire.identify()
        await request(discord, "DELETE", f"/users/@me/guilds/{GUILD}")
        assert (await wire.hear_until("GUILD_DELETE"))["d"] == {"id": GUILD}
    assert BOT_ROLE not in guild_of(discord).roles
    assert await request(discord, "GET", "/users/@me/guilds") == []


async def test_guild_has_maximum_numbers_of_objects(discord: Discord) -> None:
    guild = guild_of(discord)
    for number in range(250 - len(guild.roles)):
        guild.roles[str(number)] = Role(str(number), "r")
    for number in range(500 - len(guild.channels)):
        discord.sandbox.world.add_channel(Channel(str(number), GUILD, "c"))
    guild.emojis |= {str(number): Emoji(str(number), "ee", ANN) for number in range(49)}
    assert await error_of(discord, "POST", G + "/roles", {}) == (400, 30005)
    assert await error_of(discord, "POST", G + "/channels", {"name": "x"}) == (400, 30013)
    assert await error_of(discord, "POST", G + "/emojis", {"name": "hello", "image": PNG}) == (400, 30008)
    gif = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
    assert (await request(discord, "POST", G + "/emojis", {"name": "hello", "image": gif}))["animated"]


async def test_command_creates_have_a_daily_limit(discord: Discord) -> None:
    discord.sandbox.limiter.limits = LENIENT.replace({"command_creates": "3/86400s"})
    path = f"/applications/{BOT}/commands"
    for name in "abc":
        await request(discord, "PUT", path, [{"name": name, "description": "d"}])
    assert await error_of(discord, "POST", path, {"name": "d", "description": "d"}) == (400, 30034)
    await request(discord, "POST", path, {"name": "c", "description": "that is there already"})
    await request(discord, "POST", f"/applications/{BOT}/guilds/{GUILD}/commands", {"name": "d", "description": "d"})
    await discord.act("clock", advance_s=86_401)
    await request(discord, "POST", path, {"name": "d", "description": "d"})


async def test_owner_sets_command_permissions_and_a_bot_cannot(discord: Discord) -> None:
    commands = f"/applications/{BOT}/guilds/{GUILD}/commands"
    command = await request(discord, "POST", commands, {"name": "ops", "description": "d"})
    path = f"{commands}/{command['id']}/permissions"
    assert await error_of(discord, "PUT", path, {"permissions": []}) == (403, 20001)
    body = {"command": "ops", "roles": {"everyone": False, "Moderator": True}, "channels": {"all": True}}
    async with discord.wire() as wire:
        await wire.identify()
        await discord.act("world", set_command_permissions=body)
        event = (await wire.hear_until("APPLICATION_COMMAND_PERMISSIONS_UPDATE"))["d"]
    assert event == await request(discord, "GET", path)
    assert await request(discord, "GET", f"{commands}/permissions") == [event]
    status, answer = await discord.control("POST", "send", {"name": "ops", "as": "cat"})
    assert (status, answer["error"], answer["hint"]) == (
        400,
        "There is no command “ops”.",
        "/ops is disabled for cat.",
    )
    seen = {
        command["name"]: command.get("hidden") for command in (await discord.look("state", **{"as": "cat"}))["commands"]
    }
    assert seen == {"ops": "/ops is disabled for cat."}
    await discord.act("world", set_command_permissions={"command": "ops"})
    assert await request(discord, "GET", f"{commands}/permissions") == []
    log = await request(discord, "GET", f"{G}/audit-logs?action_type=121")
    removed, came = ({frozenset(change) for change in entry["changes"]} for entry in log["audit_log_entries"])
    assert (removed, came) == ({frozenset({"key", "old_value"})}, {frozenset({"key", "new_value"})})


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"edit_role": {"role": "Low", "deny": ["FLY"]}}, "FLY"),
        ({"set_locale": {"user": "cat", "locale": "xx"}}, "en-US"),
        ({"set_command_permissions": {"command": "nothing"}}, ""),
        ({"unban": {"user": "cat"}}, "KeyError"),
        ({"timeout": {"member": "cat", "seconds": "long"}}, "ValueError"),
    ],
)
async def test_invalid_world_change_is_explained(discord: Discord, change: dict[str, Any], hint: str) -> None:
    status, response = await discord.control("POST", "world", change)
    assert status == 400
    assert response["error"]
    assert hint in response["hint"]


async def test_created_objects_survive_a_restart(discord: Discord) -> None:
    await request(discord, "POST", f"/applications/{BOT}/emojis", {"name": "own", "image": PNG})
    await request(discord, "POST", G + "/channels", {"name": "f", "type": 15, "available_tags": [{"name": "t"}]})
    await request(discord, "PATCH", G, {"afk_timeout": 60})
    await discord.act("world", set_command_permissions={"members": {"cat": False}})
    world = discord.sandbox.world
    again = restore(snapshot(world))
    assert (again.guilds, again.applications, again.invites) == (world.guilds, world.applications, world.invites)


# A disnake bot


async def test_disnake_bot_moderates(discord: Discord) -> None:
    events: asyncio.Queue[Any] = asyncio.Queue()

    def prepare(bot: Bot) -> None:
        @bot.event
        async def on_audit_log_entry_create(entry: disnake.AuditLogEntry) -> None:
            events.put_nowait((entry.action.name, entry.target and entry.target.id, entry.reason))

    intents = disnake.Intents(guilds=True, members=True, moderation=True)
    async with discord.bot(prepare, intents=intents) as bot:
        guild = bot.get_guild(int(GUILD))
        bob, cat, low = guild.get_member(int(BOB)), guild.get_member(int(CAT)), guild.get_role(int(LOW))
        assert bob
        assert cat
        await cat.add_roles(low, reason="new")
        assert await events.get() == ("member_role_update", cat.id, "new")
        await cat.timeout(duration=60, reason="loud")
        assert await events.get() == ("member_update", cat.id, "loud")
        assert (cat.roles[1:], cat.current_timeout is not None) == ([low], True)
        role = await guild.create_role(name="made", colour=disnake.Colour(255), permissions=disnake.Permissions(1024))
        assert await events.get() == ("role_create", role.id, None)
        await cat.kick(reason="too loud")
        assert await events.get() == ("kick", cat.id, "too loud")
        await guild.ban(bob, reason="spam", clean_history_duration=60)
        assert await events.get() == ("ban", bob.id, "spam")
        assert [ban.user.id for ban in await guild.bans().flatten()] == [bob.id, int(DAN)]
        log = await guild.audit_logs(limit=5).flatten()
        assert [entry.action.name for entry in log] == [
            "ban",
            "kick",
            "role_create",
            "member_update",
            "member_role_update",
        ]
        assert (log[0].user, log[0].target.id, log[0].reason) == (guild.me, bob.id, "spam")
        await discord.act("world", edit_role={"role": "botctl-bot", "deny": ["BAN_MEMBERS"]})
        with pytest.raises(disnake.Forbidden) as lost:
            await guild.unban(bob)
        assert lost.value.code == 50013


async def test_disnake_bot_manages_rules_events_and_onboarding(discord: Discord) -> None:
    events: asyncio.Queue[str] = asyncio.Queue()

    async def record(entry: Any) -> None:
        events.put_nowait(entry.name)

    def listening(bot: Bot) -> None:
        for event in ("automod_rule_create", "guild_scheduled_event_create"):
            bot.add_listener(record, f"on_{event}")

    intents = disnake.Intents(guilds=True, automod=True, guild_scheduled_events=True)
    async with discord.bot(listening, intents=intents) as bot:
        guild = bot.get_guild(int(GUILD))
        assert [event.name for event in guild.scheduled_events] == ["Meet"]
        await guild.create_automod_rule(
            name="shouting",
            event_type=disnake.AutoModEventType.message_send,
            trigger_type=disnake.AutoModTriggerType.keyword,
            trigger_metadata=disnake.AutoModTriggerMetadata(keyword_filter=["AAA"]),
            actions=[disnake.AutoModBlockMessageAction(), disnake.AutoModTimeoutAction(60)],
        )
        assert await events.get() == "shouting"
        rules = await guild.fetch_automod_rules()
        assert {rule.name: len(rule.actions) for rule in rules} == {"spam": 0, "shouting": 2}
        start = discord.sandbox.clock.now() + timedelta(hours=1)
        event = await guild.create_scheduled_event(
            name="Evening",
            entity_type=disnake.GuildScheduledEventEntityType.external,
            entity_metadata=disnake.GuildScheduledEventMetadata(location="Here"),
            scheduled_start_time=start,
            scheduled_end_time=start + timedelta(hours=1),
        )
        assert await events.get() == "Evening"
        assert (await event.start()).status is disnake.GuildScheduledEventStatus.active
        screen = await guild.edit_welcome_screen(
            channels=[disnake.WelcomeScreenChannel(id=int(GENERAL), description="here", emoji="👋")]
        )
        assert [channel.description for channel in screen.channels] == ["here"]
        assert not (await guild.onboarding()).enabled

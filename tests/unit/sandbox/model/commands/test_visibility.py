"""Which commands a user sees: each rule has a case that it hides and one that it shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from botctl.sandbox.model.acting_user import ActingUser, actor_in
from botctl.sandbox.model.commands import visibility
from botctl.sandbox.model.commands.registration import create
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.model.permission_bits import bits
from botctl.sandbox.model.world import Application, Channel, Overwrite, Thread, World, discord_time
from tests.support.clock import ManualClock
from tests.support.discord import ANN, BOB, BOT, CAT, GENERAL, GUILD, MODERATOR, STAFF

EVERYWHERE = str(int(GUILD) - 1)
ROLE, USER, CHANNEL = 1, 2, 3


@pytest.fixture
def world() -> World:
    return default_world(ManualClock())


@pytest.fixture
def app(world: World) -> Application:
    return world.applications[BOT]


def actor_at(world: World, user: str, channel: str = GENERAL) -> ActingUser:
    guild = world.guilds[GUILD]
    return actor_in(world, guild, guild.members[user], world.channels[channel])


def command(world: World, scope: str = "", **fields: Any) -> dict[str, Any]:
    spec, _ = create(world, world.applications[BOT], scope, {"name": "x", "description": "d", **fields})
    return spec


def reason(world: World, user: str, command: dict[str, Any], channel: str = GENERAL) -> str | None:
    return visibility.hidden_reason(world, world.applications[BOT], command, actor_at(world, user, channel))


def set_overwrites(app: Application, target: str, *overwrites: tuple[int, str, bool]) -> None:
    stored = [{"id": key, "type": kind, "permission": on} for kind, key, on in overwrites]
    app.command_permissions.setdefault(GUILD, {})[target] = stored


def test_command_without_permissions_is_visible_to_all(world: World) -> None:
    assert [reason(world, user, command(world)) for user in (ANN, BOB, CAT)] == [None, None, None]


def test_context_menu_name_has_no_slash(world: World) -> None:
    spec, _ = create(world, world.applications[BOT], "", {"name": "Who", "type": 2, "contexts": [1]})
    assert reason(world, CAT, spec) == "Who is not for guilds."


def test_default_permissions_are_checked_in_the_channel(world: World) -> None:
    spec = command(world, default_member_permissions=str(bits("BAN_MEMBERS", "KICK_MEMBERS")))
    assert reason(world, BOB, spec) is None
    assert reason(world, CAT, spec) == "/x needs KICK_MEMBERS, BAN_MEMBERS, which cat lacks."
    world.channels[STAFF].overwrites[BOB] = Overwrite(BOB, 1, deny=bits("BAN_MEMBERS"))
    assert reason(world, BOB, spec, STAFF) == "/x needs BAN_MEMBERS, which bob lacks."


def test_empty_default_permissions_mean_administrators_only(world: World) -> None:
    spec = command(world, default_member_permissions="0")
    assert (reason(world, ANN, spec), reason(world, BOB, spec)) == (None, "/x is for administrators.")


def test_member_without_permission_sees_no_commands(world: World) -> None:
    world.channels[GENERAL].overwrites[GUILD] = Overwrite(GUILD, 0, deny=bits("USE_APPLICATION_COMMANDS"))
    spec = command(world)
    assert "USE_APPLICATION_COMMANDS" in str(reason(world, CAT, spec))
    assert (reason(world, CAT, spec, STAFF), reason(world, ANN, spec)) == (None, None)


def test_timed_out_member_sees_no_commands(world: World) -> None:
    world.guilds[GUILD].members[CAT].timeout_until = discord_time(world.clock.now().replace(year=9000))
    assert reason(world, CAT, command(world)) is not None


@pytest.mark.parametrize("level", ["x", BOT])
@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ([(ROLE, GUILD, False)], {ANN}),
        ([(ROLE, GUILD, False), (ROLE, MODERATOR, True)], {ANN, BOB}),
        ([(ROLE, MODERATOR, False)], {ANN, CAT}),
        ([(ROLE, MODERATOR, False), (USER, BOB, True)], {ANN, BOB, CAT}),
        ([(ROLE, MODERATOR, True), (USER, BOB, False)], {ANN, CAT}),
        ([(USER, CAT, False), (USER, ANN, False)], {ANN, BOB}),
        ([(CHANNEL, GENERAL, False)], {ANN}),
        ([(CHANNEL, EVERYWHERE, False)], {ANN}),
        ([(CHANNEL, EVERYWHERE, False), (CHANNEL, GENERAL, True)], {ANN, BOB, CAT}),
        ([(CHANNEL, STAFF, False)], {ANN, BOB, CAT}),
        ([(CHANNEL, GENERAL, False), (USER, CAT, True)], {ANN}),
    ],
)
def test_command_overwrites_merge_with_application_overwrites(
    world: World, app: Application, level: str, said: list[tuple[int, str, bool]], seen: set[str]
) -> None:
    spec = command(world)
    set_overwrites(app, spec["id"] if level == "x" else app.id, *said)
    assert {user for user in (ANN, BOB, CAT) if reason(world, user, spec) is None} == seen


def test_one_allowing_role_is_enough(world: World, app: Application) -> None:
    spec, guild = command(world), world.guilds[GUILD]
    guild.members[CAT].roles = [MODERATOR, "900000000000000201"]
    guild.roles["900000000000000201"].permissions = 0  # no longer an administrator
    set_overwrites(app, spec["id"], (ROLE, MODERATOR, False), (ROLE, "900000000000000201", True))
    assert reason(world, CAT, spec) is None


def test_command_overwrite_replaces_application_overwrite(world: World, app: Application) -> None:
    spec = command(world)
    set_overwrites(app, app.id, (USER, CAT, False), (CHANNEL, GENERAL, False), (ROLE, MODERATOR, False))
    set_overwrites(app, spec["id"], (USER, CAT, True), (CHANNEL, GENERAL, True))
    assert (reason(world, CAT, spec), reason(world, BOB, spec)) == (None, "/x is disabled for bob.")


def test_overwrite_for_everyone_does_not_grant_default_permissions(world: World, app: Application) -> None:
    spec = command(world, default_member_permissions="0")
    set_overwrites(app, spec["id"], (ROLE, GUILD, True))
    assert reason(world, CAT, spec) == "/x is for administrators."


def test_only_command_overwrite_grants_default_permissions(world: World, app: Application) -> None:
    spec = command(world, default_member_permissions="0")
    set_overwrites(app, app.id, (USER, CAT, True))
    assert reason(world, CAT, spec) == "/x is for administrators."
    set_overwrites(app, spec["id"], (USER, CAT, True))
    assert (reason(world, CAT, spec), reason(world, BOB, spec)) == (None, "/x is for administrators.")


def test_channel_overwrite_applies_to_its_threads(world: World, app: Application) -> None:
    spec, now = command(world, nsfw=True), world.timestamp()
    world.add_channel(Channel("7", GUILD, "t", type=11, parent_id=GENERAL, thread=Thread(now, now)))
    assert reason(world, CAT, spec, "7") == "/x is for age-restricted channels."
    world.channels[GENERAL].nsfw = True
    assert reason(world, CAT, spec, "7") is None
    set_overwrites(app, spec["id"], (CHANNEL, GENERAL, False))
    assert reason(world, CAT, spec, "7") == "/x is disabled in #general."


def test_nsfw_command_needs_an_nsfw_channel(world: World) -> None:
    spec = command(world, nsfw=True)
    world.channels[STAFF].nsfw = True
    assert [reason(world, user, spec) for user in (ANN, CAT)] == ["/x is for age-restricted channels."] * 2
    assert reason(world, CAT, spec, STAFF) is None


@pytest.mark.parametrize(
    ("more", "in_guild", "in_dm"),
    [
        ({}, True, True),
        ({"contexts": [0]}, True, False),
        ({"contexts": [1]}, False, True),
        ({"contexts": [0, 1, 2]}, True, True),
        ({"dm_permission": False}, True, False),
        ({"integration_types": [1]}, False, True),
        ({"integration_types": [0, 1]}, True, True),
    ],
)
def test_command_contexts_are_checked(world: World, more: dict[str, Any], in_guild: bool, in_dm: bool) -> None:
    spec, app = command(world, **more), world.applications[BOT]
    in_dm_ = ActingUser(world.users[CAT], world.direct_channel(CAT, BOT), None, None)
    assert (reason(world, CAT, spec) is None) is in_guild
    assert (visibility.hidden_reason(world, app, spec, in_dm_) is None) is in_dm


def test_dm_shows_only_the_commands_of_its_bot(world: World) -> None:
    spec, app = command(world), world.applications[BOT]
    elsewhere = ActingUser(world.users[CAT], world.direct_channel(CAT, BOB), None, None)
    assert visibility.hidden_reason(world, app, spec, elsewhere) == "/x can only be used in a DM with its bot."


def test_absent_bot_has_no_commands_in_the_guild(world: World) -> None:
    spec = command(world)
    del world.guilds[GUILD].members[BOT]
    assert "is not in Botctl Test Guild" in str(reason(world, ANN, spec))


def test_guild_commands_come_before_global_commands(world: World) -> None:
    mine, common = command(world, GUILD, default_member_permissions="0"), command(world)
    command(world, "8", nsfw=True)
    assert [spec["id"] for _, spec in visibility.list_commands(world, actor_at(world, CAT))] == [
        mine["id"],
        common["id"],
    ]
    assert (reason(world, CAT, mine), reason(world, CAT, common)) == ("/x is for administrators.", None)
    direct = replace(actor_at(world, CAT), guild=None, member=None, channel=world.direct_channel(CAT, BOT))
    assert [spec["id"] for _, spec in visibility.list_commands(world, direct)] == [common["id"]]

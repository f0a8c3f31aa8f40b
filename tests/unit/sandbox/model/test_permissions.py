"""Permissions as Discord computes them: roles, overwrites, threads, timeouts, hierarchy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.sandbox.model import permission_bits, permissions
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.model.permission_bits import ALL, EVERYONE, HISTORY, SEND, VIEW, bits
from botctl.sandbox.model.world import Channel, Guild, Member, Overwrite, Role, Thread, World, discord_time
from tests.support.clock import ManualClock
from tests.support.discord import ADMIN, ANN, BOB, BOT, CAT, GENERAL, GUILD, MODERATOR


@pytest.fixture
def world() -> World:
    return default_world(ManualClock())


@pytest.fixture
def guild(world: World) -> Guild:
    return world.guilds[GUILD]


@pytest.fixture
def cat(guild: Guild) -> Member:
    return guild.members[CAT]


@pytest.fixture
def general(guild: Guild) -> Channel:
    return guild.channels[GENERAL]


def test_names_and_bits_are_inverse() -> None:
    assert bits("view_channel", "SEND_MESSAGES") == 1 << 10 | 1 << 11
    assert permission_bits.names(1 << 40 | 1 << 51) == ["MODERATE_MEMBERS", "PIN_MESSAGES"]


def test_role_permissions_add_up(world: World, guild: Guild, cat: Member) -> None:
    assert permissions.compute(world, guild, cat) == EVERYONE
    cat.roles.append(MODERATOR)
    assert permissions.compute(world, guild, cat) == permission_bits.MODERATOR


def test_owner_and_administrators_ignore_overwrites(world: World, guild: Guild, cat: Member, general: Channel) -> None:
    general.overwrites[CAT] = Overwrite(CAT, 1, deny=ALL)
    general.overwrites[ANN] = Overwrite(ANN, 1, deny=ALL)
    cat.roles.append(ADMIN)
    assert permissions.compute(world, guild, cat, general) == ALL
    assert permissions.compute(world, guild, guild.members[ANN], general) == ALL


def test_overwrites_apply_from_everyone_to_roles_to_member(
    world: World, guild: Guild, cat: Member, general: Channel
) -> None:
    guild.roles["5"] = Role("5", "five")
    guild.roles["6"] = Role("6", "six")
    cat.roles = ["5", "6"]
    general.overwrites[GUILD] = Overwrite(GUILD, 0, deny=SEND)
    assert not permissions.compute(world, guild, cat, general) & SEND
    general.overwrites["5"] = Overwrite("5", 0, allow=SEND)
    general.overwrites["6"] = Overwrite("6", 0, deny=SEND)  # among roles an allow wins in any order
    assert permissions.compute(world, guild, cat, general) & SEND
    general.overwrites[CAT] = Overwrite(CAT, 1, deny=SEND)
    assert not permissions.compute(world, guild, cat, general) & SEND


def test_member_without_view_channel_has_no_permissions(
    world: World, guild: Guild, cat: Member, general: Channel
) -> None:
    general.overwrites[GUILD] = Overwrite(GUILD, 0, deny=VIEW)
    assert permissions.compute(world, guild, cat, general) == 0


def test_without_send_messages_attachments_are_denied(
    world: World, guild: Guild, cat: Member, general: Channel
) -> None:
    general.overwrites[GUILD] = Overwrite(GUILD, 0, deny=SEND)
    assert not permissions.compute(world, guild, cat, general) & bits("ATTACH_FILES", "EMBED_LINKS", "MENTION_EVERYONE")


def test_timed_out_member_may_only_read(world: World, guild: Guild, cat: Member, general: Channel) -> None:
    clock = world.clock.base
    assert isinstance(clock, ManualClock)
    clock.advance(60)
    cat.timeout_until = discord_time(clock.now())
    assert permissions.compute(world, guild, cat, general) == EVERYONE
    clock.advance(-1)
    assert permissions.compute(world, guild, cat, general) == VIEW | HISTORY
    clock.advance(2)
    assert permissions.compute(world, guild, cat, general) == EVERYONE


def test_thread_uses_parent_overwrites_and_private_thread_needs_membership(
    world: World, guild: Guild, cat: Member, general: Channel
) -> None:
    thread = Channel("9", GUILD, "t", type=11, parent_id=GENERAL, thread=Thread("", ""))
    world.add_channel(thread)
    general.overwrites[GUILD] = Overwrite(GUILD, 0, deny=SEND)
    assert permissions.compute(world, guild, cat, thread) & VIEW
    assert not permissions.compute(world, guild, cat, thread) & SEND
    assert permissions.compute(world, guild, cat, thread) & bits("ATTACH_FILES"), "to speak in threads is enough there"
    general.overwrites[GUILD].deny = bits("SEND_MESSAGES_IN_THREADS")
    assert not permissions.compute(world, guild, cat, thread) & bits("ATTACH_FILES")
    thread.type = 12
    assert permissions.compute(world, guild, cat, thread) == 0
    assert permissions.compute(world, guild, guild.members[BOB], thread) & VIEW  # manages threads
    thread.thread_members[CAT] = ""
    assert permissions.compute(world, guild, cat, thread) & VIEW


def test_higher_roles_outrank_lower_roles_and_owner_outranks_all(guild: Guild, cat: Member) -> None:
    ann, bob, bot = guild.members[ANN], guild.members[BOB], guild.members[BOT]
    assert permissions.outranks(guild, bot, bob)
    assert permissions.outranks(guild, bob, cat)
    assert not permissions.outranks(guild, cat, cat)
    assert not permissions.outranks(guild, bot, ann)
    ann.roles = []
    assert not permissions.outranks(guild, bot, ann), "the owner is above all roles"
    assert permissions.is_above(guild, ann, 1000)
    assert not permissions.is_above(guild, bot, guild.roles[ADMIN].position)


masks = st.integers(0, ALL)


@given(everyone=masks, role=masks, deny=masks, allow=masks)
def test_member_overwrite_wins_over_roles(everyone: int, role: int, deny: int, allow: int) -> None:
    world = default_world()
    guild = world.guilds[GUILD]
    cat, general = guild.members[CAT], guild.channels[GENERAL]
    general.overwrites = {
        GUILD: Overwrite(GUILD, 0, deny=everyone),
        MODERATOR: Overwrite(MODERATOR, 0, deny=role),
        CAT: Overwrite(CAT, 1, allow=allow | VIEW | SEND, deny=deny),
    }
    cat.roles = [MODERATOR]
    granted = permissions.compute(world, guild, cat, general)
    assert granted & (allow | VIEW | SEND) == allow | VIEW | SEND
    assert not granted & deny & ~(allow | VIEW | SEND)

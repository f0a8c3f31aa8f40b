"""In which guilds someone's Discord roles are read: only where a grant could count."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from botctl.auth.access_control import CurrentAccess
from botctl.core.contracts.access import AccessRules, Holder, HolderType, RoleGrant
from botctl.core.errors import Unreachable
from botctl.web import member_roles
from botctl.web.member_roles import MemberRoleReader
from botctl.web.visitors import READ_LIMIT_S
from tests.support.clock import ManualClock

ANN, ROLE, OTHER_ROLE = "900000000000000101", "900000000000000201", "900000000000000202"
ONE, TWO, THREE = "900000000000000001", "900000000000000002", "900000000000000003"


class FakeDiscord:
    """Guilds with their roles, and members with theirs; remembers what was asked."""

    def __init__(self) -> None:
        self.roles = {ONE: {ROLE}, TWO: {OTHER_ROLE}, THREE: set[str]()}
        self.asked: list[str] = []
        self.answer_s = 0.0  # how long an answer about the roles of a guild takes
        self.fails_in = ""

    async def guilds(self) -> list[str]:
        self.asked.append("guilds")
        return list(self.roles)

    async def guild_roles(self, guild: str) -> frozenset[str]:
        self.asked.append(f"roles {guild}")
        if self.answer_s:
            await asyncio.sleep(self.answer_s)
        if guild == self.fails_in:
            raise Unreachable("Discord answered with status 500.")
        return frozenset(self.roles[guild])

    async def member_roles(self, guild: str, user: str) -> frozenset[str]:
        self.asked.append(f"member {guild}")
        return frozenset(self.roles[guild])


def reader(*grants: RoleGrant) -> tuple[MemberRoleReader, FakeDiscord, ManualClock]:
    discord, clock = FakeDiscord(), ManualClock()
    access = CurrentAccess((), clock)
    access.rules = AccessRules(grants)
    given: Any = discord
    return MemberRoleReader(given, access, clock), discord, clock


def to_role(role: str, guild: str | None = None) -> RoleGrant:
    return RoleGrant("viewer", Holder(HolderType.ROLE, role), guild=guild)


async def test_without_grants_to_discord_roles_nothing_is_asked() -> None:
    roles, discord, _ = reader(RoleGrant("viewer", Holder(HolderType.USER, ANN)))
    assert await roles.read(ANN) == {}
    assert discord.asked == []


async def test_guild_of_a_grant_is_read_and_no_other() -> None:
    roles, discord, _ = reader(to_role(OTHER_ROLE, TWO))
    assert await roles.read(ANN) == {TWO: {OTHER_ROLE}}
    assert discord.asked == [f"member {TWO}"]


async def test_guild_of_a_role_without_one_is_found_once() -> None:
    roles, discord, _ = reader(to_role(OTHER_ROLE))
    assert roles.known_guilds(ANN) == frozenset()
    assert await roles.read(ANN) == {TWO: {OTHER_ROLE}}
    assert discord.asked == ["guilds", f"roles {ONE}", f"roles {TWO}", f"member {TWO}"]
    await roles.read(ANN)
    assert discord.asked[4:] == [f"member {TWO}"]
    assert roles.known_guilds(ANN) == {TWO}


async def test_role_that_is_nowhere_is_looked_for_again_later() -> None:
    roles, discord, clock = reader(to_role("900000000000000999"))
    for seconds, asked in ((0, 4), (60, 4), (600, 8)):
        clock.advance(seconds)
        assert await roles.read(ANN) == {}
        assert len(discord.asked) == asked


@pytest.mark.looptime
async def test_guilds_are_searched_at_the_same_time_within_a_bound() -> None:
    roles, discord, _ = reader(to_role("900000000000000999"))
    discord.roles = {str(number): set() for number in range(member_roles.MAX_GUILDS)}
    discord.answer_s = 0.2
    began_s = asyncio.get_running_loop().time()
    assert await roles.read(ANN) == {}
    took_s = asyncio.get_running_loop().time() - began_s
    assert took_s == pytest.approx(member_roles.MAX_GUILDS * 0.2 / member_roles._CONCURRENT)
    assert took_s < READ_LIMIT_S / 2


@pytest.mark.looptime
async def test_search_that_takes_too_long_is_continued() -> None:
    roles, discord, _ = reader(to_role("900000000000000999"))
    discord.roles = {str(number): set() for number in range(4 * member_roles._CONCURRENT)}
    discord.answer_s = 1.0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2.5):
            await roles.read(ANN)
    before = len(discord.asked)
    assert await roles.read(ANN) == {}
    assert len(discord.asked) == before + 1 + 2 * member_roles._CONCURRENT  # the list, and what was not answered


@pytest.mark.looptime
async def test_first_failure_ends_the_search() -> None:
    roles, discord, _ = reader(to_role("900000000000000999"))
    discord.roles = {str(number): set() for number in range(member_roles.MAX_GUILDS)}
    discord.answer_s, discord.fails_in = 1.0, "0"
    with pytest.raises(Unreachable):
        await roles.read(ANN)
    await asyncio.sleep(1_000)
    assert len(discord.asked) <= 1 + 2 * member_roles._CONCURRENT


async def test_guild_that_cannot_be_read_does_not_undo_the_others() -> None:
    roles, discord, clock = reader(to_role("900000000000000999"))
    discord.fails_in = TWO
    with pytest.raises(Unreachable):
        await roles.read(ANN)
    discord.fails_in = ""
    assert await roles.read(ANN) == {}
    assert discord.asked.count(f"roles {ONE}") == 1
    assert discord.asked.count(f"roles {TWO}") == 2
    clock.advance(600)
    await roles.read(ANN)
    assert discord.asked.count(f"roles {ONE}") == 2


async def test_own_grant_of_a_guild_counts_without_a_discord_role() -> None:
    roles, _, _ = reader(RoleGrant("viewer", Holder(HolderType.USER, ANN), guild=THREE))
    assert await roles.read(ANN) == {THREE: frozenset()}


async def test_number_of_guilds_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member_roles, "MAX_GUILDS", 1)
    roles, discord, _ = reader(to_role(ROLE, ONE), to_role(OTHER_ROLE, TWO))
    assert await roles.read(ANN) == {ONE: {ROLE}, TWO: frozenset()}
    assert discord.asked == [f"member {ONE}"]

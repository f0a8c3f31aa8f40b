"""In which guilds someone's Discord roles are read: only where a grant could count."""

from __future__ import annotations

from typing import Any

import pytest

from botctl.auth.access_control import CurrentAccess
from botctl.core.contracts.access import AccessRules, Holder, HolderType, RoleGrant
from botctl.web import member_roles
from botctl.web.member_roles import MemberRoleReader
from tests.support.clock import ManualClock

ANN, ROLE, OTHER_ROLE = "900000000000000101", "900000000000000201", "900000000000000202"
ONE, TWO, THREE = "900000000000000001", "900000000000000002", "900000000000000003"


class FakeDiscord:
    """Guilds with their roles, and members with theirs; remembers what was asked."""

    def __init__(self) -> None:
        self.roles = {ONE: {ROLE}, TWO: {OTHER_ROLE}, THREE: set[str]()}
        self.asked: list[str] = []

    async def guilds(self) -> list[str]:
        self.asked.append("guilds")
        return list(self.roles)

    async def guild_roles(self, guild: str) -> frozenset[str]:
        self.asked.append(f"roles {guild}")
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


async def test_own_grant_of_a_guild_counts_without_a_discord_role() -> None:
    roles, _, _ = reader(RoleGrant("viewer", Holder(HolderType.USER, ANN), guild=THREE))
    assert await roles.read(ANN) == {THREE: frozenset()}


async def test_number_of_guilds_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member_roles, "MAX_GUILDS", 1)
    roles, discord, _ = reader(to_role(ROLE, ONE), to_role(OTHER_ROLE, TWO))
    assert await roles.read(ANN) == {ONE: {ROLE}, TWO: frozenset()}
    assert discord.asked == [f"member {ONE}"]

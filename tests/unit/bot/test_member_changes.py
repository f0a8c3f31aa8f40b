"""Which changes of members other processes are told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import disnake
import pytest

from botctl.auth.access_control import CurrentAccess
from botctl.auth.settings_grants import settings_grants
from botctl.bot.member_changes import _on_remove, _on_update
from botctl.core.config.settings import RoleSettings
from botctl.core.contracts.events import MemberRolesChanged
from tests.support.clock import ManualClock

GUILD, OTHER, ANN, ROLE, LOCAL = (900000000000000000 + number for number in (1, 2, 101, 201, 202))
ROLES = {
    "admin": RoleSettings(roles=(str(ROLE),)),
    "local": RoleSettings(roles=(str(LOCAL),), guild=str(GUILD)),
}


def heard(*before: int, after: tuple[int, ...] = (), guild: int = GUILD) -> Any:
    def member(roles: tuple[int, ...]) -> Any:
        listed = [SimpleNamespace(id=role) for role in roles]
        return SimpleNamespace(id=ANN, roles=listed, guild=SimpleNamespace(id=guild))

    return member(before), member(after)


@pytest.fixture
def access() -> CurrentAccess:
    return CurrentAccess(settings_grants(ROLES), ManualClock())


@pytest.mark.parametrize(
    ("before", "after", "guild", "told"),
    [
        ((ROLE,), (), GUILD, True),
        ((), (ROLE,), OTHER, True),  # a grant without a guild
        ((LOCAL,), (), GUILD, True),
        ((LOCAL,), (), OTHER, False),  # the grant is of another guild
        ((ROLE,), (ROLE,), GUILD, False),  # a new nickname
        ((5,), (), GUILD, False),  # a role without grants
    ],
)
async def test_only_roles_with_grants_are_told(
    access: CurrentAccess, before: tuple[int, ...], after: tuple[int, ...], guild: int, told: bool
) -> None:
    events: list[MemberRolesChanged] = []
    await _on_update(access, events.append, *heard(*before, after=after, guild=guild))
    assert events == ([MemberRolesChanged(guild=str(guild), user=str(ANN))] if told else [])


@pytest.mark.parametrize(("roles", "told"), [((ROLE,), True), ((5,), False), (None, True)])
async def test_leaving_is_told_unless_the_member_had_no_such_role(
    access: CurrentAccess, roles: tuple[int, ...] | None, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Member(SimpleNamespace):
        """A member in the cache."""

    monkeypatch.setattr(disnake, "Member", Member)
    listed = [SimpleNamespace(id=role) for role in roles or ()]
    user = SimpleNamespace(id=ANN) if roles is None else Member(id=ANN, roles=listed)
    events: list[MemberRolesChanged] = []
    removed: Any = SimpleNamespace(user=user, guild_id=GUILD)
    await _on_remove(access, events.append, removed)
    assert bool(events) == told

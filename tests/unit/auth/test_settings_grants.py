"""What ``[roles]`` in the settings grants."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from botctl.auth.settings_grants import role_permissions, settings_grants
from botctl.core.config.settings import RoleSettings
from botctl.core.contracts.access import AccessRules, AnyRole, Holder, HolderType, Need, Requester, decide
from botctl.core.contracts.permissions import BUILT_IN_ROLES, PERMISSIONS

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANN, STAFF, GUILD = "900000000000000101", "900000000000000202", "900000000000000001"


def may(roles: dict[str, RoleSettings], need: Need, guild: str | None = GUILD, *, staff: bool = False) -> bool:
    requester = Requester(Holder(HolderType.USER, ANN), lambda role: staff and role == STAFF)
    return decide(AccessRules(settings_grants(roles)), requester, need, guild, NOW).allowed


def test_role_of_an_older_project_opens_commands_only() -> None:
    for name in BUILT_IN_ROLES:
        roles = {name: RoleSettings(users=(ANN,), roles=(STAFF,))}
        assert may(roles, AnyRole((name,)), staff=True)
        assert not any(may(roles, permission, staff=True) for permission in PERMISSIONS)


def test_role_carries_the_permissions_that_it_names() -> None:
    roles = {"moderator": RoleSettings(roles=(STAFF,), permissions=("viewer", "jobs:run"))}
    assert may(roles, "jobs:run", staff=True)
    assert may(roles, "status:read", staff=True)
    assert not may(roles, "jobs:write", staff=True)
    assert not may(roles, "jobs:run", None, staff=True)
    assert not may(roles, "jobs:run")


def test_role_of_one_guild_counts_there_only() -> None:
    roles = {"moderator": RoleSettings(users=(ANN,), permissions=("operator",), guild=GUILD)}
    for need in ("jobs:run", AnyRole(("moderator",))):
        assert may(roles, need)
        assert not may(roles, need, None)
        assert not may(roles, need, "900000000000000002")


def test_role_that_is_granted_by_name_carries_the_built_in_one() -> None:
    roles = {"admin": RoleSettings(permissions=("grants:admin",)), "helper": RoleSettings()}
    assert role_permissions("admin", roles) == BUILT_IN_ROLES["admin"] | {"grants:admin"}
    assert role_permissions("viewer", roles) == BUILT_IN_ROLES["viewer"]
    assert role_permissions("helper", roles) == frozenset()
    assert role_permissions("halper", roles) is None


def test_unknown_permission_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(ValidationError, match="neither a permission nor a built-in role; did you mean jobs:run"):
        RoleSettings(permissions=("job:run",))

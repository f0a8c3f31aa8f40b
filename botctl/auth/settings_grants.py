"""The grants that the settings make: ``[roles.<name>]`` with its users, Discord roles and permissions. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from botctl.core.config.settings import RoleSettings
from botctl.core.contracts.access import GrantSource, Holder, HolderType, RoleGrant
from botctl.core.contracts.permissions import BUILT_IN_ROLES


def settings_grants(roles: Mapping[str, RoleSettings]) -> tuple[RoleGrant, ...]:
    """One grant for each user and each Discord role of ``roles``.

    A role carries only what its ``permissions`` say, also if it has the name of a built-in role: files that were
    written before botctl had permissions must give none.
    """
    return tuple(
        RoleGrant(name, holder, expand(role.permissions), role.guild, GrantSource.SETTINGS)
        for name, role in roles.items()
        for holder in (
            *(Holder(HolderType.USER, user) for user in role.users),
            *(Holder(HolderType.ROLE, discord_role) for discord_role in role.roles),
        )
    )


def expand(names: tuple[str, ...]) -> frozenset[str]:
    """The permissions that ``names`` stand for: a built-in role stands for its own."""
    return frozenset(permission for name in names for permission in BUILT_IN_ROLES.get(name, (name,)))


def role_permissions(name: str, roles: Mapping[str, RoleSettings]) -> frozenset[str] | None:
    """What the role ``name`` carries if it is granted by name; None if there is no such role."""
    if name not in roles and name not in BUILT_IN_ROLES:
        return None
    return expand((name,) if name in BUILT_IN_ROLES else ()) | expand(roles[name].permissions if name in roles else ())

"""The states ``keys``, ``grants`` and ``sessions``, as `botctl auth` shows them with ``--json``."""

from __future__ import annotations

from dataclasses import dataclass

from botctl.core.contracts.access import RoleGrant
from botctl.core.contracts.api_keys import ApiKeys
from botctl.core.contracts.grants import GrantStore
from botctl.core.contracts.sessions import SessionStore
from botctl.core.contracts.states import StateTables


@dataclass(frozen=True, slots=True)
class KeyStates:
    """A `StateSource`. A key has no secret in it."""

    keys: ApiKeys
    names: tuple[str, ...] = ("keys",)

    async def read(self) -> StateTables:
        return {"keys": {key.id: key.as_json() for key in await self.keys.list()}}


@dataclass(frozen=True, slots=True)
class GrantStates:
    """A `StateSource`. ``fixed``: the grants of the settings."""

    fixed: tuple[RoleGrant, ...]
    grants: GrantStore
    names: tuple[str, ...] = ("grants",)

    async def read(self) -> StateTables:
        grants = self.fixed + tuple(await self.grants.list())
        return {"grants": {_key(grant): grant.as_json() for grant in grants}}


@dataclass(frozen=True, slots=True)
class SessionStates:
    """A `StateSource`. A session has neither its text nor its CSRF token in it."""

    sessions: SessionStore
    names: tuple[str, ...] = ("sessions",)

    async def read(self) -> StateTables:
        return {"sessions": {session.id: session.as_json() for session in await self.sessions.list()}}


def _key(grant: RoleGrant) -> str:
    return f"{grant.source}|{grant.role}|{grant.holder}|{grant.guild or ''}"

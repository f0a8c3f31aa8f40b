"""The guilds of a test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import disnake

from botctl.sandbox.actions import world_changes
from botctl.sandbox.model import lookup, payloads, permission_bits, world
from botctl.sandbox.testing.failures import Failed, quote_names, translate_errors
from botctl.sandbox.testing.people import Member
from botctl.sandbox.testing.places import Channel, Role
from botctl.sandbox.testing.watched_bot import WatchedBot

Permissions = int | disnake.Permissions | Iterable[str]
"""``["kick_members"]``, ``disnake.Permissions(kick_members=True)`` or a bit field."""


@dataclass(frozen=True)
class Guild:
    """A guild. Members, roles and channels that do not exist yet are created."""

    discord: WatchedBot = field(repr=False)
    id: str

    @property
    def name(self) -> str:
        return self._guild.name

    def member(
        self,
        name: str,
        *,
        roles: Sequence[str | Role] = (),
        permissions: Permissions | None = None,
        nick: str | None = None,
        locale: str | disnake.Locale | None = None,
        id: int | str | None = None,  # noqa: A002 - Discord's name
    ) -> Member:
        """Return the member ``name``; ``roles`` are added to theirs, ``permissions`` in an extra role."""
        __tracebackhide__ = True
        role_ids = list(map(self._role_id, roles))
        if permissions is not None:
            role_ids.append(self.role(f"{name} may", permissions=permissions).id)
        existing = lookup.member_or_none(self._world, self._guild, name)
        if existing is None:
            self._apply_change("add_member", name=name, roles=role_ids, nick=nick, id=id)
            existing = lookup.member(self._world, self._guild, name)
        for role_id in role_ids:
            self._apply_change("give_role", member=existing.user_id, role=role_id)
        if locale is not None:
            self._apply_change("set_locale", user=existing.user_id, locale=str(locale))
        user = self._world.users[existing.user_id]
        existing.nick = nick or existing.nick
        return Member(self.discord, self.id, user.id, user.name, lookup.channel(self._guild, None).id)

    def role(self, name: str, *, permissions: Permissions | None = None, id: int | str | None = None) -> Role:  # noqa: A002
        """Return the role ``name``; ``permissions`` replaces its permissions."""
        existing = lookup.role_or_none(self._guild, name)
        if existing is None:
            created = self._apply_change("add_role", name=name, permissions=to_bits(permissions or ()), id=id)
            existing = self._guild.roles[created["id"]]
        elif permissions is not None:
            self._set_permissions(existing, to_bits(permissions))
        return Role(existing.id, existing.name)

    def channel(self, name: str, *, id: int | str | None = None) -> Channel:  # noqa: A002
        """Return the text channel or thread ``name``."""
        existing = lookup.channel_or_none(self._guild, name)
        if existing is None:
            existing = self._guild.channels[self._apply_change("add_channel", name=name, id=id)["id"]]
        return Channel(self.discord, existing.id, existing.name)

    def bot_may(self, permissions: Permissions) -> None:
        """Replace the bot's permissions in this guild; those of @everyone stay."""
        app_id = self.discord.application_id
        self._set_permissions(
            next(role for role in self._guild.roles.values() if role.bot_id == app_id), to_bits(permissions)
        )

    @property
    def _world(self) -> world.World:
        return self.discord.sandbox.world

    @property
    def _guild(self) -> world.Guild:
        return self._world.guilds[self.id]

    def _apply_change(self, change: str, **fields: Any) -> Mapping[str, Any]:
        __tracebackhide__ = True
        return translate_errors(lambda: world_changes.apply(self.discord.sandbox, change, {**fields, "guild": self.id}))

    def _role_id(self, wanted: str | Role) -> str:
        __tracebackhide__ = True
        if isinstance(wanted, Role):
            return wanted.id
        existing = lookup.role_or_none(self._guild, wanted)
        if existing is None:
            names = quote_names([role.name for role in self._guild.roles.values() if role.id != self.id])
            raise Failed(f"{self.name} has no role “{wanted}”; it has {names}. Create it with: guild.role({wanted!r}).")
        return existing.id

    def _set_permissions(self, role: world.Role, granted: int) -> None:
        role.permissions = granted
        self.discord.sandbox.emit("GUILD_ROLE_UPDATE", {"guild_id": self.id, "role": payloads.role(role)}, self.id)


def to_bits(wanted: Permissions) -> int:
    """Convert the permissions to Discord's bit field."""
    __tracebackhide__ = True
    if isinstance(wanted, int):
        return wanted
    if isinstance(wanted, disnake.Permissions):
        return wanted.value
    try:
        return permission_bits.bits(*wanted)
    except KeyError as error:
        raise Failed(f"There is no permission {error}.") from None

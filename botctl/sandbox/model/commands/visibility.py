"""Which commands a user sees and may use (Discord: Application Commands > Contexts, Permissions).

Discord's client hides a command that the user may not use. An overwrite of a command replaces the application's
overwrite for the same role, user or channel. If a command's own overwrite allows a role or user,
``default_member_permissions`` is not checked. It is checked if the overwrite is the application's or for @everyone
(Discord: Updates to Command Permissions; discord-api-docs#5356).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botctl.core.errors import UsageError
from botctl.sandbox.model import permission_bits, permissions
from botctl.sandbox.model.acting_user import ActingUser
from botctl.sandbox.model.commands.permissions import CHANNEL, ROLE, USER, all_channels_id
from botctl.sandbox.model.commands.registration import BOT_DM_CONTEXT, GUILD_CONTEXT
from botctl.sandbox.model.world import Application, Channel, Guild, Member, World

Json = dict[str, Any]
_Overwrites = dict[tuple[int, str], bool]  # (type, id) to whether it allows
_GUILD_INSTALL = 0  # integration type; the sandbox has no user installs


class CommandHidden(UsageError):
    """The command exists, but this user does not see it here; the hint says why."""


def list_commands(world: World, actor: ActingUser) -> Iterator[tuple[Application, Json]]:
    """All commands in the actor's guild or DM, also hidden ones. For each bot: guild commands, then global."""
    scopes = (actor.guild.id, "") if actor.guild else ("",)
    for app in world.applications.values():
        for scope in scopes:
            for command in app.commands.get(scope, {}).values():
                yield app, command


def hidden_reason(world: World, app: Application, command: Json, actor: ActingUser) -> str | None:
    """Why ``actor`` does not see ``command`` of ``app``; None when they may use it."""
    name = f"/{command['name']}" if command["type"] == 1 else command["name"]
    if actor.guild is None or actor.member is None:
        return _hidden_in_dm(app, command, actor.channel, name)
    case = _GuildCheck(world, app, command, name, actor.guild, actor.member, actor.channel)
    return case.unavailable_reason() or case.forbidden_reason()


def _hidden_in_dm(app: Application, command: Json, channel: Channel, name: str) -> str | None:
    if app.id not in channel.recipients:
        return f"{name} can only be used in a DM with its bot."
    contexts = command.get("contexts")
    allowed = command["dm_permission"] if contexts is None else BOT_DM_CONTEXT in contexts
    return None if allowed else f"{name} is for guilds only."


@dataclass(frozen=True)
class _GuildCheck:
    """Checks whether ``member`` may use ``command`` (displayed as ``name``) in ``channel``."""

    world: World
    app: Application
    command: Json
    name: str
    guild: Guild
    member: Member
    channel: Channel

    def unavailable_reason(self) -> str | None:
        """Why no member can use it here."""
        contexts = self.command.get("contexts")
        if self.app.id not in self.guild.members:
            return f"The bot of {self.name} is not in {self.guild.name}."
        if _GUILD_INSTALL not in self.command["integration_types"]:
            return f"{self.name} is only for users who installed its bot."
        if contexts is not None and GUILD_CONTEXT not in contexts:
            return f"{self.name} is not for guilds."
        if self.command["nsfw"] and not permissions.overwrites_channel(self.world, self.channel).nsfw:
            return f"{self.name} is for age-restricted channels."
        return None

    def forbidden_reason(self) -> str | None:
        """Why this member may not use it."""
        granted, user_name = self._member_permissions(), self.world.users[self.member.user_id].name
        place = permissions.overwrites_channel(self.world, self.channel)
        own, both = self._overwrites()
        if granted & permission_bits.ADMINISTRATOR:
            return None
        if not granted & permission_bits.bits("USE_APPLICATION_COMMANDS"):
            return f"{user_name} needs USE_APPLICATION_COMMANDS to use commands here."
        if not both.get((CHANNEL, place.id), both.get((CHANNEL, all_channels_id(self.guild)), True)):
            return f"{self.name} is disabled in #{place.name}."
        if self._member_or_everyone_allowed(both) is False:
            return f"{self.name} is disabled for {user_name}."
        return None if self._member_allowed(own) else self._missing_permissions_reason(granted, user_name)

    def _member_permissions(self) -> int:
        """The member's permission bits in the channel."""
        return permissions.compute(self.world, self.guild, self.member, self.channel)

    def _overwrites(self) -> tuple[_Overwrites, _Overwrites]:
        """The command's own overwrites; and the application's, replaced by the command's where both exist."""
        overwrites = self.app.command_permissions.get(self.guild.id, {})
        own, common = (
            {(overwrite["type"], overwrite["id"]): overwrite["permission"] for overwrite in overwrites.get(target, [])}
            for target in (self.command["id"], self.app.id)
        )
        return own, common | own

    def _member_or_everyone_allowed(self, overwrites: _Overwrites) -> bool | None:
        """What the overwrites say about the member, or else about @everyone; None: nothing."""
        personal = self._member_allowed(overwrites)
        return overwrites.get((ROLE, self.guild.id)) if personal is None else personal

    def _member_allowed(self, overwrites: _Overwrites) -> bool | None:
        """What they say about the user, or else about their roles: one role that allows is enough; None: nothing."""
        own = overwrites.get((USER, self.member.user_id))
        roles = [overwrites[ROLE, role] for role in self.member.roles if (ROLE, role) in overwrites]
        return any(roles) if own is None and roles else own

    def _missing_permissions_reason(self, granted: int, user_name: str) -> str | None:
        """Why ``granted``, the member's permissions, are not enough. "0" in the command: administrators only."""
        if self.command["default_member_permissions"] is None:
            return None
        wanted = int(self.command["default_member_permissions"])
        if not wanted:
            return f"{self.name} is for administrators."
        missing = permission_bits.names(wanted & ~granted)
        return f"{self.name} needs {', '.join(missing)}, which {user_name} lacks." if wanted & ~granted else None

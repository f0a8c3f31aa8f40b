"""Tell other processes at once when a member gets or loses a Discord role that has grants, or leaves.

Only a bot with the intent ``members`` hears of it. Without it, the roles of signed-in people are read regularly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import disnake

from botctl.bot.client import Bot
from botctl.core.contracts.access import AccessControl
from botctl.core.contracts.events import MemberRolesChanged


def watch_member_changes(bot: Bot, access: AccessControl, publish: Callable[[MemberRolesChanged], None]) -> None:
    """Publish `MemberRolesChanged` from what ``bot`` hears."""
    bot.add_listener(partial(_on_update, access, publish), "on_member_update")
    bot.add_listener(partial(_on_remove, access, publish), "on_raw_member_remove")


async def _on_update(
    access: AccessControl,
    publish: Callable[[MemberRolesChanged], None],
    before: disnake.Member,
    after: disnake.Member,
) -> None:
    changed = {role.id for role in before.roles} ^ {role.id for role in after.roles}
    if _has_grants(access, changed, after.guild.id):
        publish(MemberRolesChanged(guild=str(after.guild.id), user=str(after.id)))


async def _on_remove(
    access: AccessControl,
    publish: Callable[[MemberRolesChanged], None],
    removed: disnake.RawGuildMemberRemoveEvent,
) -> None:
    """A member who was not in the cache may have had any role."""
    user = removed.user
    roles = {role.id for role in user.roles} if isinstance(user, disnake.Member) else None
    if roles is None or _has_grants(access, roles, removed.guild_id):
        publish(MemberRolesChanged(guild=str(removed.guild_id), user=str(user.id)))


def _has_grants(access: AccessControl, roles: Iterable[int], guild: int) -> bool:
    return any(access.rules.has_grants(str(role), str(guild)) for role in roles)

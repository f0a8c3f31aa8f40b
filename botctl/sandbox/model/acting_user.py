"""The user who acts in the sandbox, and the place where they act."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botctl.sandbox.model import lookup, permission_bits, permissions
from botctl.sandbox.model.world import Channel, Guild, Member, User, World

Json = dict[str, Any]


@dataclass(frozen=True)
class ActingUser:
    """A user in a channel. In a DM, ``guild`` and ``member`` are None."""

    user: User
    channel: Channel
    guild: Guild | None
    member: Member | None

    @property
    def location(self) -> str:
        """The place in words, for example ``in #general``."""
        return f"in #{self.channel.name}" if self.guild else "in this DM"

    def permissions(self, world: World) -> int:
        """The user's permission bits in the channel."""
        if self.guild is None or self.member is None:
            return permission_bits.DIRECT
        return permissions.compute(world, self.guild, self.member, self.channel)


def find_actor(world: World, body: Json) -> ActingUser:
    """The user that a control request names in ``as``; in its ``guild`` and ``channel``, or the DM with ``dm``."""
    guild = lookup.guild(world, body.get("guild"))
    member = lookup.member(world, guild, body.get("as"))
    if body.get("dm"):
        other = lookup.member(world, guild, str(body["dm"]))
        return ActingUser(world.users[member.user_id], world.direct_channel(member.user_id, other.user_id), None, None)
    return actor_in(world, guild, member, lookup.channel(guild, body.get("channel")))


def actor_in(world: World, guild: Guild, member: Member, channel: Channel) -> ActingUser:
    return ActingUser(world.users[member.user_id], channel, guild, member)

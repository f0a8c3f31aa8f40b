"""Which sessions receive an event: by intents and shard, by membership, and by permissions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from botctl.sandbox.model import permission_bits, permissions
from botctl.sandbox.model.gateway.session import GatewaySession
from botctl.sandbox.model.world import Channel, World

Json = dict[str, Any]


def receivers(
    world: World,
    sessions: Iterable[GatewaySession],
    event: str,
    data: Json,
    guild_id: str | None,
    *,
    application_id: str | None = None,
    channel: Channel | None = None,
    required_permissions: int = 0,
    required_intent: int = 0,
) -> Iterator[GatewaySession]:
    """The ``sessions`` that receive ``event``.

    With ``guild_id`` only bots in the guild receive it; with ``channel`` only bots that see it, or are in the DM; with
    ``required_permissions`` only bots with one of them; with ``required_intent`` only sessions with that intent. With
    ``application_id`` only that bot receives it, and no permission is checked.
    """
    about = data["user"]["id"] if event == "GUILD_MEMBER_UPDATE" else None
    for session in sessions:
        if not session.receives(event, guild_id, about) or session.intents & required_intent != required_intent:
            continue
        if application_id is None:
            if can_receive(world, session.application_id, guild_id, channel, required_permissions):
                yield session
        elif application_id == session.application_id:
            yield session


def can_receive(
    world: World, application_id: str, guild_id: str | None, channel: Channel | None, required_permissions: int
) -> bool:
    """Whether the bot is in the guild or DM, sees ``channel``, and has one of ``required_permissions`` (0: any)."""
    if guild_id is None:
        return channel is None or application_id in channel.recipients
    guild = world.guilds.get(guild_id)
    bot = guild.members.get(application_id) if guild else None
    if guild is None or bot is None or not guild.available:
        return False
    if channel is None and not required_permissions:
        return True
    granted = permissions.compute(world, guild, bot, channel)
    return bool(
        (not required_permissions or granted & required_permissions)
        and (channel is None or granted & permission_bits.VIEW)
    )

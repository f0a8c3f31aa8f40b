"""Opening an interaction and dispatching INTERACTION_CREATE to the bot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from botctl.core.errors import Unreachable
from botctl.sandbox.model import payloads, permission_bits, permissions
from botctl.sandbox.model.acting_user import ActingUser
from botctl.sandbox.model.commands import registration, visibility
from botctl.sandbox.model.interactions import AUTOCOMPLETE, COMMAND, Interaction
from botctl.sandbox.model.messages import drafts
from botctl.sandbox.model.world import Application, Message, World
from botctl.sandbox.sandbox import Sandbox

Json = dict[str, Any]
_OF_COMMANDS = (COMMAND, AUTOCOMPLETE)


def dispatch_interaction(
    sandbox: Sandbox,
    actor: ActingUser,
    application_id: str,
    kind: int,
    data: Json,
    *,
    name: str,
    command_type: int = registration.SLASH,
    source: Message | None = None,
) -> Interaction:
    """Open an interaction. ``kind``: its type; ``source``: the component's message. Raises Unreachable (no bot)."""
    world, guild_id = sandbox.world, actor.guild.id if actor.guild else ""
    app = world.applications.get(application_id)
    if app is None or not _is_reachable(sandbox, app, guild_id):
        word = name.partition(" ")[0] if command_type == registration.SLASH else name
        others = _bots_with(sandbox, actor, word, command_type) if kind in _OF_COMMANDS else []
        raise _unreachable(sandbox, app, actor, name, others)
    if actor.guild is not None and app.id not in actor.guild.members:
        raise Unreachable(f"{app.name} is no longer in {actor.guild.name}.")
    if actor.guild is not None and not actor.guild.available:
        raise Unreachable(f"{actor.guild.name} is unavailable.", hint="Stop the incident guild-outage.")
    interaction = sandbox.interactions.open(
        world,
        kind,
        application_id=app.id,
        user_id=actor.user.id,
        guild_id=guild_id,
        channel_id=actor.channel.id,
        name=name,
        command_type=command_type,
        source_id=source.id if source else None,
    )
    payload = _payload(world, actor, app, interaction, data)
    if source is not None:
        payload["message"] = payloads.message(source, world)
    sandbox.emit("INTERACTION_CREATE", payload, guild_id or None, application_id=app.id)
    return interaction


def _is_reachable(sandbox: Sandbox, app: Application, guild_id: str) -> bool:
    """Whether the bot has a session that is connected, or was until so recently that it can respond in time."""
    now_s, grace_s = sandbox.world.clock.monotonic(), sandbox.interactions.limits.response_s
    return any(
        session.application_id == app.id
        and session.receives("INTERACTION_CREATE", guild_id or None)
        and (session.disconnected_s is None or now_s - session.disconnected_s < grace_s)
        for session in sandbox.sessions.by_id.values()
    )


def _unreachable(
    sandbox: Sandbox, app: Application | None, actor: ActingUser, name: str, others: Sequence[str]
) -> Unreachable:
    """The error for a bot without a session. ``others``: what to type to use the same command of a connected bot."""
    world, ids = sandbox.world, sandbox.sessions.connected_applications()
    if not ids:
        return Unreachable("No bot is connected to the sandbox.", hint="Start it with `botctl run`.")
    connected = [world.applications[one] for one in world.applications if one in ids]
    if app is None:
        return Unreachable(f"No bot has “{name}” any more.", hint=_list_bots(connected))
    if app in connected:
        place = actor.guild.name if actor.guild else "DMs"
        return Unreachable(f"The shard of {app.name} for {place} is not connected.", hint="Start all of its shards.")
    choice = f"Choose another bot: {' or '.join(others)}." if others else f"Start {app.name}. {_list_bots(connected)}"
    return Unreachable(f"{app.name}, which has “{name}”, is not connected to the sandbox.", hint=choice)


def _list_bots(apps: Sequence[Application]) -> str:
    return f"Connected: {', '.join(app.name for app in apps)}."


def _bots_with(sandbox: Sandbox, actor: ActingUser, name: str, command_type: int) -> list[str]:
    """``/name@bot`` for each connected bot with this command, which ``actor`` may use; the id if it has spaces."""
    world, slash = sandbox.world, "/" if command_type == registration.SLASH else ""
    return [
        f"{slash}{name}@{app.name if len(app.name.split()) == 1 else app.id}"
        for app, command in visibility.list_commands(world, actor)
        if (command["name"], command["type"]) == (name, command_type)
        and app.id in sandbox.sessions.connected_applications()
        and visibility.hidden_reason(world, app, command, actor) is None
    ]


def _payload(world: World, actor: ActingUser, app: Application, interaction: Interaction, data: Json) -> Json:
    common: Json = {
        "id": interaction.id,
        "application_id": app.id,
        "type": interaction.type,
        "token": interaction.token,
        "version": 1,
        "data": data,
        "channel_id": actor.channel.id,
        "locale": actor.user.locale,
        "entitlements": [],
        "attachment_size_limit": drafts.UPLOAD_MAX_BYTES,
    }
    if actor.guild is None or actor.member is None:
        return {**common, **_dm_fields(world, actor, app)}
    guild, granted = actor.guild, actor.permissions(world)
    bot = guild.members[app.id]
    for channel_id, channel in data.get("resolved", {}).get("channels", {}).items():
        channel["app_permissions"] = str(permissions.compute(world, guild, bot, world.channels[channel_id]))
    return {
        **common,
        "guild_id": guild.id,
        "guild": {"id": guild.id, "locale": guild.locale, "features": []},
        "channel": payloads.partial_channel(actor.channel, granted),
        "member": payloads.invoking_member(actor.member, granted, world),
        "guild_locale": guild.locale,
        "app_permissions": str(permissions.compute(world, guild, bot, actor.channel)),
        "authorizing_integration_owners": {"0": guild.id},
        "context": registration.GUILD_CONTEXT,
    }


def _dm_fields(world: World, actor: ActingUser, app: Application) -> Json:
    return {
        "channel": payloads.direct_channel(actor.channel, world, viewer=app.id),
        "user": payloads.user(actor.user),
        "app_permissions": str(permission_bits.DIRECT),
        "authorizing_integration_owners": {"0": "0"},
        "context": registration.BOT_DM_CONTEXT,
    }

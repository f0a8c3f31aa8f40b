"""Putting a person's act to the bot: the interaction is opened, and INTERACTION_CREATE sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botctl.core.errors import Unreachable
from botctl.sandbox import commands, lookup, messages, payloads
from botctl.sandbox.interactions import Interaction
from botctl.sandbox.server import Sandbox
from botctl.sandbox.world import Application, Channel, Guild, Member, Message, World

Json = dict[str, Any]
_LOCALE = "en-US"


@dataclass(frozen=True)
class Actor:
    """Who acts, and where."""

    guild: Guild
    channel: Channel
    member: Member


def actor(world: World, body: Json) -> Actor:
    """The actor that ``as``, ``channel`` and ``guild`` of a control request name."""
    guild = lookup.guild(world, body.get("guild"))
    return Actor(guild, lookup.channel(guild, body.get("channel")), lookup.member(world, guild, body.get("as")))


def ask(
    sandbox: Sandbox,
    who: Actor,
    application_id: str,
    kind: int,
    data: Json,
    *,
    name: str,
    command_type: int = commands.SLASH,
    source: Message | None = None,
) -> Interaction:
    """Open an interaction of type ``kind`` and tell the bot; raises Unreachable when none is there.

    ``source`` is the message whose component was used, or on which the form was opened.
    """
    world = sandbox.world
    app = world.applications.get(application_id)
    if app is None or not _listening(sandbox, app, who.guild):
        raise Unreachable("No bot is connected to the sandbox.", hint="Start it with `botctl run`.")
    opened = sandbox.book.open(
        world,
        kind,
        application_id=app.id,
        user_id=who.member.user_id,
        guild_id=who.guild.id,
        channel_id=who.channel.id,
        name=name,
        command_type=command_type,
        source_id=source.id if source else None,
    )
    payload = _payload(world, who, app, opened, data)
    if source is not None:
        payload["message"] = payloads.message(source, world)
    sandbox.emit("INTERACTION_CREATE", payload, who.guild.id, application_id=app.id)
    return opened


def _listening(sandbox: Sandbox, app: Application, guild: Guild) -> bool:
    """Is a session of the bot there, or gone so short a time that it can still come back and answer?"""
    now_s, grace_s = sandbox.world.clock.monotonic(), sandbox.book.deadlines.response_s
    return any(
        session.application_id == app.id
        and session.wants("INTERACTION_CREATE", guild.id)
        and (session.lost_s is None or now_s - session.lost_s < grace_s)
        for session in sandbox.sessions.by_id.values()
    )


def _payload(world: World, who: Actor, app: Application, opened: Interaction, data: Json) -> Json:
    guild, permissions = who.guild, who.guild.permissions(who.member)
    return {
        "id": opened.id,
        "application_id": app.id,
        "type": opened.type,
        "token": opened.token,
        "version": 1,
        "data": data,
        "guild_id": guild.id,
        "guild": {"id": guild.id, "locale": guild.locale, "features": []},
        "channel_id": who.channel.id,
        "channel": payloads.partial_channel(who.channel, permissions),
        "member": payloads.member_in(guild, who.member, world),
        "locale": _LOCALE,
        "guild_locale": guild.locale,
        "app_permissions": str(guild.permissions(guild.members[app.id])),
        "entitlements": [],
        "authorizing_integration_owners": {"0": guild.id},
        "context": 0,
        "attachment_size_limit": messages.UPLOAD_MAX_BYTES,
    }

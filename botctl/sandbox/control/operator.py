"""Handlers of the control API that show and change the sandbox: state, sessions, clock, limits, tokens, incidents."""

from __future__ import annotations

from collections import Counter
from typing import Any

from botctl.core.errors import UsageError
from botctl.sandbox.actions import world_changes
from botctl.sandbox.control.body import read_number
from botctl.sandbox.incidents import catalogue, scenario
from botctl.sandbox.incidents.runner import IncidentRunner
from botctl.sandbox.model.acting_user import find_actor
from botctl.sandbox.model.commands import visibility
from botctl.sandbox.model.gateway import session
from botctl.sandbox.model.gateway.opcodes import CloseCode
from botctl.sandbox.sandbox import Sandbox
from botctl.sandbox.web.openapi_check import OpenApiCheck

Json = dict[str, Any]
# A client must start a new session after these
_SESSION_ENDING_CODES = frozenset({CloseCode.INVALID_SEQ[0], CloseCode.SESSION_TIMED_OUT[0]})


async def state(sandbox: Sandbox, body: Json) -> Json:
    """A summary: guilds, commands, bots. ``as``, ``channel`` and ``guild`` name a person and their place.

    A command that this person cannot see there has the key ``hidden``, with the reason.
    """
    world = sandbox.world
    commands = [{"guild_id": None, **command} for app in world.applications.values() for command in app.all_commands()]
    if body.get("as"):
        user = find_actor(world, body)
        reasons = {
            command["id"]: reason
            for app, command in visibility.list_commands(world, user)
            if (reason := visibility.hidden_reason(world, app, command, user))
        }
        commands = [
            {**command, "hidden": reasons[command["id"]]} if command["id"] in reasons else command
            for command in commands
        ]
    return {
        "guilds": [_guild_summary(sandbox, guild.id) for guild in world.guilds.values()],
        "commands": commands,
        "bots": [_bot_summary(sandbox, app.id) for app in world.applications.values()],
    }


async def gateway(sandbox: Sandbox, body: Json) -> Json:
    """``action`` for every session: heartbeat (op 1), reconnect (op 7), invalidate (op 9), close, drop (abort TCP)."""
    action = body.get("action")
    connected = sandbox.sessions.connected()
    for gateway_session in connected:
        transport = gateway_session.transport
        if transport is None:
            continue
        if action == "reconnect":
            session.request_reconnect(gateway_session)
        elif action == "heartbeat":
            session.request_heartbeat(gateway_session)
        elif action == "invalidate":
            sandbox.sessions.invalidate(
                gateway_session, sandbox.clock.monotonic(), resumable=bool(body.get("resumable"))
            )
        elif action == "close":
            transport.close(code := int(read_number(body, "code", CloseCode.UNKNOWN_ERROR[0])), "")
            if code in _SESSION_ENDING_CODES:
                sandbox.sessions.remove([gateway_session])
        elif action == "drop":
            transport.abort()
        else:
            hint = 'Set "action" to heartbeat, reconnect, invalidate, close or drop.'
            raise UsageError(f"There is no action “{action}”.", hint=hint)
    return {"sessions": len(connected)}


async def clock(sandbox: Sandbox, body: Json) -> Json:
    """Advance the sandbox's clock by ``advance_s``, if given; returns its time, ISO 8601 in UTC."""
    sandbox.clock.advance(read_number(body, "advance_s", 0.0))
    return {"now": sandbox.world.timestamp()}


async def openapi_faults(openapi_check: OpenApiCheck | None, _: Json) -> Json:
    """The report of the OpenAPI self-check, and whether it is ``on``."""
    return {"on": openapi_check is not None, **(openapi_check.report() if openapi_check else {})}


async def limits(sandbox: Sandbox, body: Json) -> Json:
    """Change the limits in ``body`` (see docs/sandbox-limits.md); returns all limits."""
    sandbox.limits = sandbox.limits.replace(body)
    return sandbox.limits.as_text()


async def token(sandbox: Sandbox, body: Json) -> Json:
    """The token of ``application`` (default: the first bot). ``reset`` makes a new one and ends all sessions."""
    bots = sandbox.world.applications
    bot = str(body.get("application") or next(iter(bots)))
    if bot not in bots:
        raise UsageError(f"There is no application “{bot}”.", hint=f"Applications: {', '.join(bots)}.")
    if body.get("reset"):
        sandbox.reset_token(bot)
    bot_token = next((token for token, owner in sandbox.access.tokens.items() if owner == bot), None)
    return {"application": bot, "token": bot_token}


async def emit_event(sandbox: Sandbox, body: Json) -> Json:
    """Send the gateway event ``event`` to the sessions of ``application``; returns how many got it.

    For a replay of recorded events: ``data`` is not checked, and the sandbox's guilds and messages do not change.
    """
    event, data = body.get("event"), body.get("data")
    if not isinstance(event, str) or not isinstance(data, dict):
        raise UsageError(
            "An event needs a name and data.", hint='Send {"application": …, "event": "MESSAGE_CREATE", "data": {…}}.'
        )
    guild_id = str(data["guild_id"]) if data.get("guild_id") else None
    return {"told": sandbox.emit(event, data, guild_id, application_id=str(body.get("application")))}


async def change_world(sandbox: Sandbox, body: Json) -> Json:
    """Change guilds, people or channels: ``body`` maps names of `world_changes.CHANGES` to their arguments."""
    return {name: world_changes.apply(sandbox, name, arguments) for name, arguments in body.items()}


async def incident(incidents: IncidentRunner, body: Json) -> Json:
    """Start the incident ``name`` with ``settings``, for ``for_s`` seconds if given, and return it.

    ``stop`` names an incident to stop, or is "all"; ``scenario`` is the TOML text of a scenario to play. These, and an
    empty ``body``, return the catalogue and the running incidents.
    """
    if body.get("scenario"):
        incidents.play(scenario.parse(str(body["scenario"])))
    elif body.get("stop") == "all":
        await incidents.close()
    elif body.get("stop"):
        name = catalogue.find(str(body["stop"])).name
        if not await incidents.stop(name):
            raise UsageError(f"The incident {name} is not running.")
    elif body.get("name"):
        for_s = None if body.get("for_s") is None else read_number(body, "for_s", 0.0)
        started = await incidents.start(str(body["name"]), for_s=for_s, **(body.get("settings") or {}))
        return {"name": started.name, "settings": dict(started.settings), "result": dict(started.result)}
    return {
        "incidents": [
            {"name": entry.name, "what": entry.description, "source": entry.source, "settings": dict(entry.settings)}
            for entry in catalogue.INCIDENTS.values()
        ],
        "going_on": [
            {
                "name": running.name,
                "settings": dict(running.settings),
                "began_at": running.began_at,
                "for_s": running.for_s,
            }
            for running in incidents.list_running()
        ],
        "scenario": incidents.playing,
    }


def _guild_summary(sandbox: Sandbox, guild_id: str) -> Json:
    world = sandbox.world
    guild = world.guilds[guild_id]
    return {
        "id": guild.id,
        "name": guild.name,
        "channels": [{"id": channel.id, "name": channel.name} for channel in guild.channels.values()],
        "threads": [{"id": thread.id, "name": thread.name} for thread in guild.threads.values()],
        "roles": [{"id": role.id, "name": role.name} for role in guild.roles.values()],
        "members": [
            {
                "id": member.user_id,
                "name": world.users[member.user_id].name,
                "bot": world.users[member.user_id].bot,
                "locale": world.users[member.user_id].locale,
                "roles": [guild.roles[role].name for role in member.roles],
            }
            for member in guild.members.values()
        ],
    }


def _bot_summary(sandbox: Sandbox, application_id: str) -> Json:
    connected = [
        gateway_session
        for gateway_session in sandbox.sessions.connected()
        if gateway_session.application_id == application_id
    ]
    name = sandbox.world.applications[application_id].name
    logins = Counter(login.result for login in sandbox.sessions.logins if login.application_id == application_id)
    return {
        "application_id": application_id,
        "name": name,
        "shards": len(connected),
        "connected": bool(connected),
        "logins": dict(logins),
    }

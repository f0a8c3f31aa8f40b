"""What those ask who run the sandbox and not take part in it: how all is, and that something else be so."""

from __future__ import annotations

from typing import Any

from botctl.core.errors import UsageError
from botctl.sandbox.actions import world_changes
from botctl.sandbox.control.body import number
from botctl.sandbox.incidents import catalogue, scenario
from botctl.sandbox.incidents.runner import Incidents
from botctl.sandbox.model import visibility
from botctl.sandbox.model.acting_user import find_actor
from botctl.sandbox.model.gateway import session
from botctl.sandbox.model.gateway.opcodes import CloseCode
from botctl.sandbox.server import Sandbox
from botctl.sandbox.web.openapi_check import OpenApiCheck

Json = dict[str, Any]
_NO_RESUME = frozenset({CloseCode.INVALID_SEQ[0], CloseCode.SESSION_TIMED_OUT[0]})  # Discord: "start a new session"


async def state(sandbox: Sandbox, body: Json) -> Json:
    """The world in short: guilds, commands, bots. With ``as`` (and ``channel``, ``guild``) each command that this
    person does not see there has the reason as ``hidden``.
    """
    world = sandbox.world
    commands = [{"guild_id": None, **one} for app in world.applications.values() for one in app.all_commands()]
    if body.get("as"):
        who = find_actor(world, body)
        why = {
            one["id"]: reason
            for app, one in visibility.list_commands(world, who)
            if (reason := visibility.hidden_reason(world, app, one, who))
        }
        commands = [{**one, "hidden": why[one["id"]]} if one["id"] in why else one for one in commands]
    return {
        "guilds": [_guild(sandbox, one.id) for one in world.guilds.values()],
        "commands": commands,
        "bots": [_bot(sandbox, one.id) for one in world.applications.values()],
    }


async def gateway(sandbox: Sandbox, body: Json) -> Json:
    """Do to every connected session what ``action`` says: op 1, op 7, op 9, a close code, or a cut connection."""
    action = body.get("action")
    connected = sandbox.sessions.connected()
    for one in connected:
        line = one.transport
        if line is None:
            continue
        if action == "reconnect":
            session.request_reconnect(one)
        elif action == "heartbeat":
            session.request_heartbeat(one)
        elif action == "invalidate":
            sandbox.sessions.invalidate(one, sandbox.clock.monotonic(), resumable=bool(body.get("resumable")))
        elif action == "close":
            line.close(code := int(number(body, "code", CloseCode.UNKNOWN_ERROR[0])), "")
            if code in _NO_RESUME:
                sandbox.sessions.remove([one])
        elif action == "drop":
            line.abort()
        else:
            hint = "Actions: heartbeat, reconnect, invalidate, close, drop."
            raise UsageError(f"There is no action “{action}”.", hint=hint)
    return {"sessions": len(connected)}


async def clock(sandbox: Sandbox, body: Json) -> Json:
    """Move the sandbox's clock ahead by ``advance_s``, if given; answers with its time, ISO 8601 in UTC."""
    sandbox.clock.advance(number(body, "advance_s", 0.0))
    return {"now": sandbox.world.timestamp()}


async def faults(judge: OpenApiCheck | None, _: Json) -> Json:
    """What the self-check found, and whether it is ``on``."""
    return {"on": judge is not None, **(judge.report() if judge else {})}


async def limits(sandbox: Sandbox, body: Json) -> Json:
    """Change the limits that ``body`` names (see docs/sandbox-limits.md); answers with all of them."""
    sandbox.limits = sandbox.limits.replace(body)
    return sandbox.limits.as_text()


async def token(sandbox: Sandbox, body: Json) -> Json:
    """The token of ``application`` (else the first bot), a new one with ``reset``: the old one and its sessions end."""
    bots = sandbox.world.applications
    bot = str(body.get("application") or next(iter(bots)))
    if bot not in bots:
        raise UsageError(f"There is no application “{bot}”.", hint=f"There is: {', '.join(bots)}.")
    if body.get("reset"):
        sandbox.reset_token(bot)
    found = next((token for token, owner in sandbox.access.tokens.items() if owner == bot), None)
    return {"application": bot, "token": found}


async def tell(sandbox: Sandbox, body: Json) -> Json:
    """Tell the sessions of ``application`` the ``event`` with its ``data``, as it is; how many heard it.

    Nothing is checked and nothing in the world changes: it is for events that were recorded.
    """
    event, data = body.get("event"), body.get("data")
    if not isinstance(event, str) or not isinstance(data, dict):
        raise UsageError(
            "An event has a name and data.", hint='{"application", "event": "MESSAGE_CREATE", "data": {…}}'
        )
    guild_id = str(data["guild_id"]) if data.get("guild_id") else None
    return {"told": sandbox.emit(event, data, guild_id, application_id=str(body.get("application")))}


async def change_world(sandbox: Sandbox, body: Json) -> Json:
    """Change who and what there is: one or more of `world_changes.CHANGES`, each with its own object."""
    return {name: world_changes.apply(sandbox, name, arguments) for name, arguments in body.items()}


async def incident(incidents: Incidents, body: Json) -> Json:
    """Begin the incident ``name`` with its ``settings``, for ``for_s`` seconds if given; or ``stop`` the one so called.

    Without either: what there is, and what goes on. ``scenario`` is the text of one to play; ``stop`` may be "all".
    """
    if body.get("scenario"):
        incidents.play(scenario.parse(str(body["scenario"])))
    elif body.get("stop") == "all":
        await incidents.close()
    elif body.get("stop"):
        name = catalogue.find(str(body["stop"])).name
        if not await incidents.stop(name):
            raise UsageError(f"The incident {name} does not go on.")
    elif body.get("name"):
        for_s = None if body.get("for_s") is None else number(body, "for_s", 0.0)
        begun = await incidents.start(str(body["name"]), for_s=for_s, **(body.get("settings") or {}))
        return {"name": begun.name, "settings": dict(begun.settings), "result": dict(begun.result)}
    return {
        "incidents": [
            {"name": one.name, "what": one.what, "source": one.source, "settings": dict(one.settings)}
            for one in catalogue.INCIDENTS.values()
        ],
        "going_on": [
            {"name": one.name, "settings": dict(one.settings), "began_at": one.began_at, "for_s": one.for_s}
            for one in incidents.going_on()
        ],
        "scenario": incidents.playing,
    }


def _guild(sandbox: Sandbox, guild_id: str) -> Json:
    world = sandbox.world
    guild = world.guilds[guild_id]
    return {
        "id": guild.id,
        "name": guild.name,
        "channels": [{"id": one.id, "name": one.name} for one in guild.channels.values()],
        "threads": [{"id": one.id, "name": one.name} for one in guild.threads.values()],
        "roles": [{"id": one.id, "name": one.name} for one in guild.roles.values()],
        "members": [
            {
                "id": one.user_id,
                "name": world.users[one.user_id].name,
                "bot": world.users[one.user_id].bot,
                "locale": world.users[one.user_id].locale,
                "roles": [guild.roles[role].name for role in one.roles],
            }
            for one in guild.members.values()
        ],
    }


def _bot(sandbox: Sandbox, application_id: str) -> Json:
    there = [one for one in sandbox.sessions.connected() if one.application_id == application_id]
    name = sandbox.world.applications[application_id].name
    return {"application_id": application_id, "name": name, "shards": len(there), "connected": bool(there)}

"""The bot itself, where its gateway is, and its commands."""

from __future__ import annotations

import math
from typing import Any

from botctl.sandbox import commands, payloads
from botctl.sandbox.refusal import Refusal, unknown
from botctl.sandbox.rest import Call, Reply, route

Json = dict[str, Any]
_GUILDS_PER_SHARD = 1000  # that Discord recommends


@route("GET", "/users/@me")
def me(call: Call) -> Json:
    return payloads.current_user(call.sandbox.world.users[call.app.id])


@route("GET", "/oauth2/applications/@me")
@route("GET", "/applications/@me")
def application(call: Call) -> Json:
    return payloads.application(call.app, call.sandbox.world)


@route("GET", "/gateway", token=False)
def gateway(call: Call) -> Json:
    return {"url": call.sandbox.gateway_url}


@route("GET", "/gateway/bot")
def gateway_bot(call: Call) -> Json:
    sandbox, bot = call.sandbox, call.app.id
    limit = sandbox.limiter.session_start_limit(bot, sandbox.clock.monotonic())
    shards = max(math.ceil(sandbox.guild_count(bot, (0, 1)) / _GUILDS_PER_SHARD), 1)
    return {"url": sandbox.gateway_url, "shards": shards, "session_start_limit": limit}


GLOBAL = "/applications/{application}/commands"
GUILD = "/applications/{application}/guilds/{guild}/commands"


@route("GET", GLOBAL)
@route("GET", GUILD)
def list_commands(call: Call) -> list[Json]:
    localized = call.flag("with_localizations")
    listed = commands.listing(call.app, _scope(call))
    return listed if localized else [_without_localizations(one) for one in listed]


@route("PUT", GLOBAL)
@route("PUT", GUILD)
def overwrite_commands(call: Call) -> list[Json]:
    scope = _scope(call)
    bodies = call.body or []  # the description of the API allows null
    if not isinstance(bodies, list):
        wrong = {"code": "LIST_TYPE_CONVERT", "message": "Only iterables may be used in a ListType"}
        raise Refusal(400, 50035, "Invalid Form Body", {"_errors": [wrong]})
    stored = commands.overwrite(call.sandbox.world, call.app, scope, bodies)
    call.sandbox.changed()
    return stored


@route("POST", GLOBAL)
@route("POST", GUILD)
def create_command(call: Call) -> Reply:
    stored, new = commands.create(call.sandbox.world, call.app, _scope(call), call.form)
    call.sandbox.changed()
    return Reply(201 if new else 200, stored)


@route("GET", GLOBAL + "/{command}")
@route("GET", GUILD + "/{command}")
def get_command(call: Call) -> Json:
    return commands.get(call.app, _scope(call), call.path["command"])


@route("PATCH", GLOBAL + "/{command}")
@route("PATCH", GUILD + "/{command}")
def change_command(call: Call) -> Json:
    stored = commands.change(call.sandbox.world, call.app, _scope(call), call.path["command"], call.form)
    call.sandbox.changed()
    return stored


@route("DELETE", GLOBAL + "/{command}")
@route("DELETE", GUILD + "/{command}")
def delete_command(call: Call) -> None:
    commands.delete(call.app, _scope(call), call.path["command"])
    call.sandbox.changed()


@route("GET", GUILD + "/permissions")
def all_command_permissions(call: Call) -> list[Json]:
    """Nobody can set any here yet, so there are none."""
    _scope(call)
    return []


@route("GET", GUILD + "/{command}/permissions")
def command_permissions(call: Call) -> Json:
    scope = _scope(call)
    app, command_id = call.app, call.path["command"]
    if command_id not in app.commands.get("", {}):
        commands.get(app, scope, command_id)
    # Discord: Edit Application Command Permissions: error 10066 stands for "none were ever set"
    raise Refusal(404, 10066, "Unknown application command permissions")


def _scope(call: Call) -> str:
    """The guild's id, or "" for global commands; raises for another's application and an unknown guild."""
    if call.path["application"] != call.app.id:
        raise Refusal(403, 20012, "You are not authorized to perform this action on this application")
    guild_id = call.path.get("guild", "")
    if guild_id and guild_id not in call.sandbox.world.guilds:
        raise unknown("Guild")
    return guild_id


def _without_localizations(command: Json) -> Json:
    return {key: value for key, value in command.items() if not key.endswith("_localizations")}

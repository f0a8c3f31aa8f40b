"""The bot's application, its gateway address and its commands."""

from __future__ import annotations

import math
from typing import Any

from botctl.sandbox.model import payloads
from botctl.sandbox.model.api_error import ApiError, FormErrors, missing_access, unknown
from botctl.sandbox.model.commands import permissions, registration
from botctl.sandbox.rest.access import require_own_application
from botctl.sandbox.rest.images import parse_image
from botctl.sandbox.rest.routing import ApiCall, ApiReply, route

Json = dict[str, Any]
_RECOMMENDED_SHARE = 0.4  # of `guilds_per_shard`: Discord recommends a shard for about 1,000 guilds, and refuses 2,501
_EDITABLE_FLAGS = 1 << 13 | 1 << 15 | 1 << 19  # privileged intents that a small bot may set itself
_MAX_TAGS, _MAX_TAG_LENGTH = 5, 20


@route("GET", "/oauth2/applications/@me")
@route("GET", "/applications/@me")
@route("GET", "/applications/{application}")
def application(call: ApiCall) -> Json:
    require_own_application(call)
    return payloads.application(call.app, call.sandbox.world)


@route("PATCH", "/applications/@me")
@route("PATCH", "/applications/{application}")
def edit_application(call: ApiCall) -> Json:
    require_own_application(call)
    body, errors, app = call.form, FormErrors(), call.app
    settings: Json = {}
    if "description" in body:
        settings["description"] = errors.text((), body, "description", 0, 400)
    if "tags" in body:
        tags = errors.field((), body, "tags", list) or []
        errors.at_most(("tags",), tags, _MAX_TAGS)
        settings["tags"] = list(dict.fromkeys(_parse_tag(errors, index, tag) for index, tag in enumerate(tags)))
    for name in ("interactions_endpoint_url", "role_connections_verification_url", "custom_install_url"):
        if name in body:
            settings[name] = errors.text((), body, name, 0, 2048) or None
    for name in ("icon", "cover_image"):
        if name in body:
            settings[name] = decoded.hash if (decoded := parse_image(errors, (), body, name)) else None
    flags = errors.field((), body, "flags", int)
    errors.check()
    app.settings = {
        key: value for key, value in {**app.settings, **settings}.items() if value is not None or key == "icon"
    }
    if flags is not None:
        app.flags = app.flags & ~_EDITABLE_FLAGS | flags & _EDITABLE_FLAGS
    call.sandbox.changed()
    return payloads.application(app, call.sandbox.world)


@route("GET", "/gateway", token=False)
def gateway(call: ApiCall) -> Json:
    return {"url": call.sandbox.gateway_url}


@route("GET", "/gateway/bot")
def gateway_bot(call: ApiCall) -> Json:
    sandbox, bot = call.sandbox, call.app.id
    limit = sandbox.limiter.session_start_limit(bot, sandbox.clock.monotonic())
    share = max(sandbox.limits.guilds_per_shard * _RECOMMENDED_SHARE, 1)
    shards = max(math.ceil(sandbox.guild_count(bot, (0, 1)) / share), 1)
    return {"url": sandbox.gateway_url, "shards": shards, "session_start_limit": limit}


GLOBAL = "/applications/{application}/commands"
GUILD = "/applications/{application}/guilds/{guild}/commands"


@route("GET", GLOBAL)
@route("GET", GUILD)
def list_commands(call: ApiCall) -> list[Json]:
    localized = call.flag("with_localizations")
    listing = registration.list_commands(call.app, _get_scope(call))
    return listing if localized else [_without_localizations(command) for command in listing]


@route("PUT", GLOBAL)
@route("PUT", GUILD)
def overwrite_commands(call: ApiCall) -> list[Json]:
    scope = _get_scope(call)
    bodies = [] if call.body is None else call.body  # Discord's OpenAPI description allows null
    if not isinstance(bodies, list):
        error = {"code": "LIST_TYPE_CONVERT", "message": "Only iterables may be used in a ListType"}
        raise ApiError(400, 50035, "Invalid Form Body", {"_errors": [error]})
    stored = registration.overwrite(call.sandbox.world, call.app, scope, bodies, _creation_counter(call, scope))
    call.sandbox.changed()
    return stored


@route("POST", GLOBAL)
@route("POST", GUILD)
def create_command(call: ApiCall) -> ApiReply:
    scope = _get_scope(call)
    stored, new = registration.create(call.sandbox.world, call.app, scope, call.form, _creation_counter(call, scope))
    call.sandbox.changed()
    return ApiReply(201 if new else 200, stored)


@route("GET", GLOBAL + "/{command}")
@route("GET", GUILD + "/{command}")
def get_command(call: ApiCall) -> Json:
    return registration.get(call.app, _get_scope(call), call.path["command"])


@route("PATCH", GLOBAL + "/{command}")
@route("PATCH", GUILD + "/{command}")
def edit_command(call: ApiCall) -> Json:
    stored = registration.change(call.sandbox.world, call.app, _get_scope(call), call.path["command"], call.form)
    call.sandbox.changed()
    return stored


@route("DELETE", GLOBAL + "/{command}")
@route("DELETE", GUILD + "/{command}")
def delete_command(call: ApiCall) -> None:
    registration.delete(call.app, _get_scope(call), call.path["command"])
    call.sandbox.changed()


@route("GET", GUILD + "/permissions")
def list_command_permissions(call: ApiCall) -> list[Json]:
    guild_id = _get_scope(call)
    configured = call.app.command_permissions.get(guild_id, {})
    return [permissions.payload(call.app, guild_id, target_id) for target_id in configured]


@route("GET", GUILD + "/{command}/permissions")
def get_command_permissions(call: ApiCall) -> Json:
    guild_id, target_id = _get_scope(call), _target_id(call)
    if target_id not in call.app.command_permissions.get(guild_id, {}):
        raise ApiError(404, 10066, "Unknown application command permissions")
    return permissions.payload(call.app, guild_id, target_id)


@route("PUT", GUILD + "/{command}/permissions")
def edit_command_permissions(call: ApiCall) -> Json:
    """Discord: Edit Application Command Permissions: needs a person's Bearer token, so a bot gets an error."""
    _get_scope(call)
    _target_id(call)
    raise ApiError(403, 20001, "Bots cannot use this endpoint")


def _get_scope(call: ApiCall) -> str:
    """The guild's id, or "" for global commands; raises 20012, 10004 and 50001 (no access to the app or guild)."""
    require_own_application(call)
    guild_id = call.path.get("guild", "")
    guild = call.sandbox.world.guilds.get(guild_id)
    if not guild_id:
        return ""
    if guild is None:
        raise unknown("Guild")
    if call.app.id not in guild.members:
        raise missing_access()
    return guild_id


def _creation_counter(call: ApiCall, scope: str) -> registration.CountNew:
    """A function that counts new commands against the daily limit of ``scope``; it raises 30034 (too many)."""
    limiter, now_s = call.sandbox.limiter, call.sandbox.clock.monotonic()

    def count(new: int) -> None:
        for _ in range(new):
            if limiter.consume("command_creates", call.app.id, scope, now_s=now_s):
                maximum = limiter.limits.command_creates.count
                raise ApiError(
                    400, 30034, f"Max number of daily application command creates has been reached ({maximum})"
                )

    return count


def _target_id(call: ApiCall) -> str:
    """The id of the path's command, or of the application itself; raises 10063 (unknown command)."""
    app, target_id = call.app, call.path["command"]
    if target_id != app.id and target_id not in app.commands.get("", {}):
        registration.get(app, call.path["guild"], target_id)
    return target_id


def _parse_tag(errors: FormErrors, index: int, tag: object) -> str:
    if errors.is_a(("tags", index), tag, str) and len(str(tag)) > _MAX_TAG_LENGTH:
        errors.add(("tags", index), "BASE_TYPE_MAX_LENGTH", f"Must be {_MAX_TAG_LENGTH} or fewer in length.")
    return str(tag)


def _without_localizations(command: Json) -> Json:
    return {key: value for key, value in command.items() if not key.endswith("_localizations")}

"""Fixed responses for features that the sandbox lacks: voice, shop, vanity URLs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from botctl.sandbox.actions import audit_log
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import payloads
from botctl.sandbox.model.api_error import FormErrors
from botctl.sandbox.model.world import discord_time
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.access import require_own_application
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]
_REGIONS = {"rotterdam": "Rotterdam", "singapore": "Singapore", "us-east": "US East"}
_MAX_PAUSE = timedelta(hours=24)
_PAUSE_FIELDS = ("invites_disabled_until", "dms_disabled_until")


@route("GET", "/voice/regions")
def voice_regions(_: ApiCall) -> list[Json]:
    return _regions()


@route("GET", "/guilds/{guild}/regions")
def regions_of_guild(call: ApiCall) -> list[Json]:
    access.get_guild(call)
    return _regions()


@route("GET", "/guilds/{guild}/vanity-url")
def vanity_url(call: ApiCall) -> Json:
    access.get_guild(call, "MANAGE_GUILD")
    return {"code": None, "uses": 0}


@route("GET", "/guilds/{guild}/integrations")
def integrations(call: ApiCall) -> list[Json]:
    """The bots in the guild."""
    guild, world = access.get_guild(call, "MANAGE_GUILD"), call.sandbox.world
    apps = [app for app in world.applications.values() if app.id in guild.members]
    return [
        {
            "id": app.id,
            "name": app.name,
            "type": "discord",
            "enabled": True,
            "account": {"id": app.id, "name": app.name},
            "application": {
                **{key: payloads.application(app, world)[key] for key in ("id", "name", "icon", "description", "type")},
                "bot": payloads.user(world.users[app.id]),
            },
            "scopes": ["bot", "applications.commands"],
            "user": payloads.user(world.users[guild.owner_id]),
        }
        for app in apps
    ]


@route("PUT", "/guilds/{guild}/incident-actions")
def pause_guild(call: ApiCall) -> Json:
    """Disables invites and DMs for a day at most. The sandbox stores and announces it, but enforces nothing."""
    guild, errors = access.get_guild(call, "MANAGE_GUILD"), FormErrors()
    before = guild.settings.get("incidents_data") or dict.fromkeys(_PAUSE_FIELDS)
    after = dict(before)
    for name in _PAUSE_FIELDS:
        end = errors.time((), call.form, name)
        if end and end > call.sandbox.clock.now() + _MAX_PAUSE:
            errors.add((name,), "INCIDENT_ACTIONS_TOO_LONG", "Time cannot exceed 24 hours into the future")
        if name in call.form:
            after[name] = discord_time(end) if end else None
    errors.check()
    guild.settings["incidents_data"] = after
    if changes := audit_log.diff(before, after):
        call.sandbox.emit("GUILD_UPDATE", payloads.guild(guild, call.sandbox.world), guild.id)
        audit.write_entry(call, guild, AuditAction.GUILD_UPDATE, guild.id, changes=changes)
    return after


@route("GET", "/applications/{application}/entitlements")
def entitlements(call: ApiCall) -> list[Json]:
    require_own_application(call)
    return []


@route("GET", "/sticker-packs")
def sticker_packs(_: ApiCall) -> Json:
    return {"sticker_packs": []}


def _regions() -> list[Json]:
    plain = {"custom": False, "deprecated": False, "optimal": False}
    return [{"id": key, "name": name, **plain} for key, name in _REGIONS.items()]

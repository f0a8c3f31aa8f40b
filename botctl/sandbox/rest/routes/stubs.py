"""What a bot asks for and gets a plain answer to, since there is no voice, no shop and no vanity here."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from botctl.sandbox.actions import audit_log
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import payloads
from botctl.sandbox.model.api_error import FormErrors
from botctl.sandbox.model.world import discord_time
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.access import own_application
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]
_REGIONS = {"rotterdam": "Rotterdam", "singapore": "Singapore", "us-east": "US East"}
_PAUSE_MOST = timedelta(hours=24)
_PAUSES = ("invites_disabled_until", "dms_disabled_until")


@route("GET", "/voice/regions")
def voice_regions(_: ApiCall) -> list[Json]:
    return _regions()


@route("GET", "/guilds/{guild}/regions")
def regions_of_guild(call: ApiCall) -> list[Json]:
    access.guild_of(call)
    return _regions()


@route("GET", "/guilds/{guild}/vanity-url")
def vanity_url(call: ApiCall) -> Json:
    access.guild_of(call, "MANAGE_GUILD")
    return {"code": None, "uses": 0}


@route("GET", "/guilds/{guild}/integrations")
def integrations(call: ApiCall) -> list[Json]:
    """The bots of the guild."""
    guild, world = access.guild_of(call, "MANAGE_GUILD"), call.sandbox.world
    there = [one for one in world.applications.values() if one.id in guild.members]
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
        for app in there
    ]


@route("PUT", "/guilds/{guild}/incident-actions")
def pause_guild(call: ApiCall) -> Json:
    """Invites and DMs are switched off for a day at most; here that is told, and nothing else comes of it."""
    guild, errors = access.guild_of(call, "MANAGE_GUILD"), FormErrors()
    before = guild.settings.get("incidents_data") or dict.fromkeys(_PAUSES)
    after = dict(before)
    for name in _PAUSES:
        end = errors.time((), call.form, name)
        if end and end > call.sandbox.clock.now() + _PAUSE_MOST:
            errors.add((name,), "INCIDENT_ACTIONS_TOO_LONG", "Time cannot exceed 24 hours into the future")
        if name in call.form:
            after[name] = discord_time(end) if end else None
    errors.check()
    guild.settings["incidents_data"] = after
    if changes := audit_log.diff(before, after):
        call.sandbox.emit("GUILD_UPDATE", payloads.guild(guild, call.sandbox.world), guild.id)
        audit.note(call, guild, AuditAction.GUILD_UPDATE, guild.id, changes=changes)
    return after


@route("GET", "/applications/{application}/entitlements")
def entitlements(call: ApiCall) -> list[Json]:
    own_application(call)
    return []


@route("GET", "/sticker-packs")
def sticker_packs(_: ApiCall) -> Json:
    return {"sticker_packs": []}


def _regions() -> list[Json]:
    plain = {"custom": False, "deprecated": False, "optimal": False}
    return [{"id": key, "name": name, **plain} for key, name in _REGIONS.items()]

"""A guild itself, and those that the bot is in (Discord: Guild resource; User resource)."""

from __future__ import annotations

from typing import Any

from botctl.core.contracts.guild_settings import LOCALES
from botctl.sandbox.actions import audit_log, moderation
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import payloads, permissions
from botctl.sandbox.model.api_error import FormErrors, unknown
from botctl.sandbox.model.channels.types import ANNOUNCEMENT, TEXT, VOICE
from botctl.sandbox.model.world import Guild
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.images import image
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]
GUILD = "/guilds/{guild}"
MINE = "/users/@me/guilds"
_MOST = 200
_NUMBERS = {
    "default_message_notifications": (0, 1),
    "explicit_content_filter": (0, 1, 2),
    "afk_timeout": (60, 300, 900, 1800, 3600),
}
_CHANNELS = {
    "afk_channel_id": (VOICE,),
    "rules_channel_id": (TEXT, ANNOUNCEMENT),
    "public_updates_channel_id": (TEXT, ANNOUNCEMENT),
    "safety_alerts_channel_id": (TEXT, ANNOUNCEMENT),
}
_PICTURES = ("icon", "splash", "banner")
_SHOWN = ("name", "description", "system_channel_id", "verification_level", "preferred_locale")
_LOGGED = (*_SHOWN, *_PICTURES, *_NUMBERS, *_CHANNELS, "system_channel_flags", "premium_progress_bar_enabled")


@route("GET", GUILD)
def get_guild(call: ApiCall) -> Json:
    guild = access.guild_of(call)
    shown = payloads.guild(guild, call.sandbox.world)
    return {**shown, **_counts(guild)} if call.flag("with_counts") else shown


@route("GET", GUILD + "/preview")
def preview(call: ApiCall) -> Json:
    guild = access.guild_of(call)
    shown = payloads.guild(guild, call.sandbox.world)
    kept = ("id", "name", "icon", "splash", "discovery_splash", "home_header", "emojis", "features", "description")
    return {key: shown[key] for key in (*kept, "stickers")} | _counts(guild)


@route("PATCH", GUILD)
def edit_guild(call: ApiCall) -> Json:
    guild = access.guild_of(call, "MANAGE_GUILD")
    before = _logged(call, guild)
    fields, settings = _fields(guild, call.form)
    for name, value in fields.items():
        setattr(guild, name, value)
    guild.settings |= settings
    if changes := audit_log.diff(before, _logged(call, guild)):
        call.sandbox.emit("GUILD_UPDATE", payloads.guild(guild, call.sandbox.world), guild.id)
        audit.note(call, guild, AuditAction.GUILD_UPDATE, guild.id, changes=changes)
    return payloads.guild(guild, call.sandbox.world)


@route("GET", MINE, scope="guilds")
def my_guilds(call: ApiCall) -> list[Json]:
    """By id, ``after`` one or ``before`` it."""
    me, limit, errors, query = call.user_id, call.limit(_MOST, _MOST), FormErrors(), dict(call.query)
    before, after = errors.snowflake((), query, "before"), errors.snowflake((), query, "after")
    errors.check()
    mine = sorted((one for one in call.sandbox.world.guilds.values() if me in one.members), key=lambda one: int(one.id))
    if before:
        mine = [one for one in mine if int(one.id) < int(before)][-limit:]
    elif after:
        mine = [one for one in mine if int(one.id) > int(after)]
    return [_mine(call, one) for one in mine[:limit]]


@route("DELETE", MINE + "/{guild}")
def leave(call: ApiCall) -> None:
    guild = call.sandbox.world.guilds.get(call.path["guild"])
    if guild is None or call.app.id not in guild.members:
        raise unknown("Guild")
    moderation.remove_member(call.sandbox, guild, access.me(call, guild))


def _counts(guild: Guild) -> Json:
    return {"approximate_member_count": len(guild.members), "approximate_presence_count": 0}


def _mine(call: ApiCall, guild: Guild) -> Json:
    shown = payloads.guild(guild, call.sandbox.world)
    granted = permissions.compute(call.sandbox.world, guild, guild.members[call.user_id])
    mine = {key: shown[key] for key in ("id", "name", "icon", "banner", "features")}
    mine |= {"owner": guild.owner_id == call.user_id, "permissions": str(granted)}
    return mine | _counts(guild) if call.flag("with_counts") else mine


def _fields(guild: Guild, body: Json) -> tuple[Json, Json]:
    """What ``body`` sets of a `Guild`, and of its settings; raises 50035."""
    errors = FormErrors()
    fields: Json = {}
    if "name" in body:
        fields["name"] = errors.text((), body, "name", 2, 100)
    if "description" in body:
        fields["description"] = errors.text((), body, "description", 0, 300) or None
    if (level := errors.choice((), body, "verification_level", range(5))) is not None:
        fields["verification_level"] = level
    if locale := errors.choice((), body, "preferred_locale", LOCALES):
        fields["locale"] = locale
    if "system_channel_id" in body:
        fields["system_channel_id"] = _channel(guild, body, "system_channel_id", (TEXT, ANNOUNCEMENT), errors)
    settings = _settings(guild, body, errors)
    errors.check()
    return fields, settings


def _settings(guild: Guild, body: Json, errors: FormErrors) -> Json:
    found: Json = {name: errors.choice((), body, name, offered) for name, offered in _NUMBERS.items()}
    found["system_channel_flags"] = errors.number((), body, "system_channel_flags", 0, 2**6 - 1)
    found["premium_progress_bar_enabled"] = errors.field((), body, "premium_progress_bar_enabled", bool)
    found = {name: value for name, value in found.items() if value is not None}
    for name, kinds in _CHANNELS.items():
        if name in body:
            found[name] = _channel(guild, body, name, kinds, errors)
    for name in _PICTURES:
        if name in body:
            found[name] = picture.hash if (picture := image(errors, (), body, name)) else None
    return found


def _channel(guild: Guild, body: Json, name: str, kinds: tuple[int, ...], errors: FormErrors) -> str | None:
    channel_id = errors.snowflake((), body, name)
    found = guild.channels.get(channel_id or "")
    if channel_id and (found is None or found.type not in kinds):
        errors.add((name,), "CHANNEL_INVALID_TYPE", "Invalid channel type.")
    return channel_id


def _logged(call: ApiCall, guild: Guild) -> Json:
    shown = payloads.guild(guild, call.sandbox.world)
    return {key: shown[key] for key in _LOGGED if shown.get(key) is not None}

"""A guild, and the guilds of the bot (Discord: Guild resource; User resource)."""

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
from botctl.sandbox.rest.images import parse_image
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]
GUILD = "/guilds/{guild}"
OWN_GUILDS = "/users/@me/guilds"
_MAX_PAGE = 200
_CHOICES = {
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
_IMAGES = ("icon", "splash", "banner")
_BASIC_FIELDS = ("name", "description", "system_channel_id", "verification_level", "preferred_locale")
_AUDITED = (*_BASIC_FIELDS, *_IMAGES, *_CHOICES, *_CHANNELS, "system_channel_flags", "premium_progress_bar_enabled")


@route("GET", GUILD)
def get_guild(call: ApiCall) -> Json:
    guild = access.get_guild(call)
    payload = payloads.guild(guild, call.sandbox.world)
    return {**payload, **_approximate_counts(guild)} if call.flag("with_counts") else payload


@route("GET", GUILD + "/preview")
def preview(call: ApiCall) -> Json:
    guild = access.get_guild(call)
    payload = payloads.guild(guild, call.sandbox.world)
    fields = ("id", "name", "icon", "splash", "discovery_splash", "home_header", "emojis", "features", "description")
    return {key: payload[key] for key in (*fields, "stickers")} | _approximate_counts(guild)


@route("PATCH", GUILD)
def edit_guild(call: ApiCall) -> Json:
    guild = access.get_guild(call, "MANAGE_GUILD")
    before = _audited_fields(call, guild)
    fields, settings = _parse_fields(guild, call.form)
    for name, value in fields.items():
        setattr(guild, name, value)
    guild.settings |= settings
    if changes := audit_log.diff(before, _audited_fields(call, guild)):
        call.sandbox.emit("GUILD_UPDATE", payloads.guild(guild, call.sandbox.world), guild.id)
        audit.write_entry(call, guild, AuditAction.GUILD_UPDATE, guild.id, changes=changes)
    return payloads.guild(guild, call.sandbox.world)


@route("GET", OWN_GUILDS, scope="guilds")
def list_own_guilds(call: ApiCall) -> list[Json]:
    """Sorted by id. ``after`` and ``before`` are guild ids."""
    me, limit, errors, query = call.user_id, call.limit(_MAX_PAGE, _MAX_PAGE), FormErrors(), dict(call.query)
    before, after = errors.snowflake((), query, "before"), errors.snowflake((), query, "after")
    errors.check()
    guilds = sorted(
        (guild for guild in call.sandbox.world.guilds.values() if me in guild.members), key=lambda guild: int(guild.id)
    )
    if before:
        guilds = [guild for guild in guilds if int(guild.id) < int(before)][-limit:]
    elif after:
        guilds = [guild for guild in guilds if int(guild.id) > int(after)]
    return [_partial_guild(call, guild) for guild in guilds[:limit]]


@route("DELETE", OWN_GUILDS + "/{guild}")
def leave(call: ApiCall) -> None:
    guild = call.sandbox.world.guilds.get(call.path["guild"])
    if guild is None or call.app.id not in guild.members:
        raise unknown("Guild")
    moderation.remove_member(call.sandbox, guild, access.own_member(call, guild))


def _approximate_counts(guild: Guild) -> Json:
    return {"approximate_member_count": len(guild.members), "approximate_presence_count": 0}


def _partial_guild(call: ApiCall, guild: Guild) -> Json:
    payload = payloads.guild(guild, call.sandbox.world)
    granted = permissions.compute(call.sandbox.world, guild, guild.members[call.user_id])
    partial = {key: payload[key] for key in ("id", "name", "icon", "banner", "features")}
    partial |= {"owner": guild.owner_id == call.user_id, "permissions": str(granted)}
    return partial | _approximate_counts(guild) if call.flag("with_counts") else partial


def _parse_fields(guild: Guild, body: Json) -> tuple[Json, Json]:
    """The values of ``body`` for the attributes of `Guild`, and for `Guild.settings`. Raises 50035 (invalid)."""
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
        fields["system_channel_id"] = _parse_channel(guild, body, "system_channel_id", (TEXT, ANNOUNCEMENT), errors)
    settings = _parse_settings(guild, body, errors)
    errors.check()
    return fields, settings


def _parse_settings(guild: Guild, body: Json, errors: FormErrors) -> Json:
    settings: Json = {name: errors.choice((), body, name, offered) for name, offered in _CHOICES.items()}
    settings["system_channel_flags"] = errors.number((), body, "system_channel_flags", 0, 2**6 - 1)
    settings["premium_progress_bar_enabled"] = errors.field((), body, "premium_progress_bar_enabled", bool)
    settings = {name: value for name, value in settings.items() if value is not None}
    for name, kinds in _CHANNELS.items():
        if name in body:
            settings[name] = _parse_channel(guild, body, name, kinds, errors)
    for name in _IMAGES:
        if name in body:
            settings[name] = decoded.hash if (decoded := parse_image(errors, (), body, name)) else None
    return settings


def _parse_channel(guild: Guild, body: Json, name: str, kinds: tuple[int, ...], errors: FormErrors) -> str | None:
    channel_id = errors.snowflake((), body, name)
    channel = guild.channels.get(channel_id or "")
    if channel_id and (channel is None or channel.type not in kinds):
        errors.add((name,), "CHANNEL_INVALID_TYPE", "Invalid channel type.")
    return channel_id


def _audited_fields(call: ApiCall, guild: Guild) -> Json:
    payload = payloads.guild(guild, call.sandbox.world)
    return {key: payload[key] for key in _AUDITED if payload.get(key) is not None}

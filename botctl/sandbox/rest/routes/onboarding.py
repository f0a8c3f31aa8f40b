"""Welcome screen, onboarding and widget of a guild (Discord: Guild resource)."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.actions import audit_log
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import payloads, permission_bits, permissions
from botctl.sandbox.model.api_error import ApiError, FormErrors, Path, unknown
from botctl.sandbox.model.world import Guild, Member
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]
WELCOME = "/guilds/{guild}/welcome-screen"
ONBOARDING = "/guilds/{guild}/onboarding"
WIDGET = "/guilds/{guild}/widget"
_MAX_CHANNELS = 5  # in a welcome screen
_MAX_PROMPTS, _MAX_OPTIONS = 15, 50
_MIN_VISIBLE, _MIN_WRITABLE = 7, 5  # channels that a new member can see and write in


@route("GET", WELCOME)
def get_welcome_screen(call: ApiCall) -> Json:
    """Needs MANAGE_GUILD while the screen is disabled."""
    guild = access.get_guild(call)
    screen = guild.pages.get("welcome_screen")
    if screen is None:
        raise unknown("Guild Welcome Screen")
    if not screen["enabled"]:
        access.require_permissions(call, guild, "MANAGE_GUILD")
    return _public_fields(screen)


@route("PATCH", WELCOME)
def edit_welcome_screen(call: ApiCall) -> Json:
    guild, body, errors = access.get_guild(call, "MANAGE_GUILD"), call.form, FormErrors()
    screen: Json = {
        "enabled": False,
        "description": None,
        "welcome_channels": [],
        **guild.pages.get("welcome_screen", {}),
    }
    if (enabled := errors.field((), body, "enabled", bool)) is not None:
        screen["enabled"] = enabled
    if "description" in body:
        screen["description"] = errors.text((), body, "description", 0, 140) or None
    if body.get("welcome_channels") is not None:
        screen["welcome_channels"] = _parse_welcome_channels(guild, body, errors)
    errors.check()
    guild.pages["welcome_screen"] = screen
    call.sandbox.changed()
    return _public_fields(screen)


@route("GET", ONBOARDING)
def get_onboarding(call: ApiCall) -> Json:
    return _get_onboarding(access.get_guild(call))


@route("PUT", ONBOARDING)
def put_onboarding(call: ApiCall) -> Json:
    guild, body, errors = access.get_guild(call, "MANAGE_GUILD", "MANAGE_ROLES"), call.form, FormErrors()
    before = _get_onboarding(guild)
    changed_fields: Json = {
        "enabled": errors.field((), body, "enabled", bool),
        "mode": errors.choice((), body, "mode", (0, 1)),
        "default_channel_ids": _parse_ids(body, "default_channel_ids", guild.channels, errors, ()),
        "prompts": _parse_prompts(call, guild, body, errors),
    }
    errors.check()
    after = before | {name: value for name, value in changed_fields.items() if value is not None}
    if after["enabled"] and not _has_enough_channels(call, guild, after):
        raise ApiError(400, 350000, "Cannot enable onboarding, requirements are not met")
    guild.pages["onboarding"] = after
    if changes := audit_log.diff(before, after):
        audit.write_entry(call, guild, AuditAction.ONBOARDING_UPDATE, guild.id, changes=changes)
    return after


@route("GET", WIDGET)
def get_widget_settings(call: ApiCall) -> Json:
    return _widget_settings(call, access.get_guild(call, "MANAGE_GUILD"))


@route("PATCH", WIDGET)
def edit_widget_settings(call: ApiCall) -> Json:
    guild, errors = access.get_guild(call, "MANAGE_GUILD"), FormErrors()
    before = _widget_settings(call, guild)
    enabled, channel_id = errors.field((), call.form, "enabled", bool), errors.snowflake((), call.form, "channel_id")
    errors.check()
    if enabled is not None:
        guild.settings["widget_enabled"] = enabled
    if "channel_id" in call.form:
        guild.settings["widget_channel_id"] = channel_id
    if changes := audit_log.diff(before, _widget_settings(call, guild)):
        call.sandbox.emit("GUILD_UPDATE", payloads.guild(guild, call.sandbox.world), guild.id)
        named = [{**change, "key": f"widget_{change['key']}"} for change in changes]
        audit.write_entry(call, guild, AuditAction.GUILD_UPDATE, guild.id, changes=named)
    return _widget_settings(call, guild)


@route("GET", WIDGET + ".json", token=False)
def get_widget(call: ApiCall) -> Json:
    """Needs no permission; the widget must be enabled."""
    guild = call.sandbox.world.guilds.get(call.path["guild"])
    if guild is None:
        raise unknown("Guild")
    if not guild.settings.get("widget_enabled"):
        raise ApiError(403, 50004, "Widget Disabled")
    payload: Json = {"id": guild.id, "name": guild.name, "instant_invite": None, "presence_count": 0}
    return payload | {"channels": [], "members": []}


def _public_fields(screen: Json) -> Json:
    return {key: screen[key] for key in ("description", "welcome_channels")}


def _parse_welcome_channels(guild: Guild, body: Json, errors: FormErrors) -> list[Json]:
    items, channels = errors.objects((), body, "welcome_channels"), []
    errors.at_most(("welcome_channels",), items, _MAX_CHANNELS)
    for index, item in enumerate(items):
        path: Path = ("welcome_channels", index)
        channel_id = errors.snowflake(path, item, "channel_id")
        if channel_id not in guild.channels:
            errors.add((*path, "channel_id"), "CHANNEL_INVALID", "Invalid channel")
        channel = {"channel_id": channel_id, "description": errors.text(path, item, "description", 1, 50)}
        emoji = {
            "emoji_id": errors.snowflake(path, item, "emoji_id"),
            "emoji_name": _parse_emoji_name(item, errors, path),
        }
        channels.append(channel | emoji)
    return channels


def _get_onboarding(guild: Guild) -> Json:
    defaults: Json = {"guild_id": guild.id, "prompts": [], "default_channel_ids": [], "enabled": False, "mode": 0}
    return {**defaults, **guild.pages.get("onboarding", {})}


def _parse_prompts(call: ApiCall, guild: Guild, body: Json, errors: FormErrors) -> list[Json] | None:
    if body.get("prompts") is None:
        return None
    items = errors.objects((), body, "prompts")
    errors.at_most(("prompts",), items, _MAX_PROMPTS)
    return [_parse_prompt(call, guild, item, errors, ("prompts", index)) for index, item in enumerate(items)]


def _parse_prompt(call: ApiCall, guild: Guild, data: Json, errors: FormErrors, path: Path) -> Json:
    """A prompt; it gets a new id when its id is unknown."""
    options = errors.objects(path, data, "options")
    if not 1 <= len(options) <= _MAX_OPTIONS:
        errors.add((*path, "options"), "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {_MAX_OPTIONS} in length.")
    known_ids = {prompt["id"] for prompt in _get_onboarding(guild)["prompts"]}
    prompt_id = errors.snowflake(path, data, "id")
    return {
        "id": prompt_id if prompt_id in known_ids else call.sandbox.world.new_id(),
        "title": errors.text(path, data, "title", 1, 100),
        "type": errors.choice(path, data, "type", (0, 1)) or 0,
        "options": [
            _parse_option(call, guild, option, errors, (*path, "options", at)) for at, option in enumerate(options)
        ],
        "single_select": errors.field(path, data, "single_select", bool) or False,
        "required": errors.field(path, data, "required", bool) or False,
        "in_onboarding": errors.field(path, data, "in_onboarding", bool) or False,
    }


def _parse_option(call: ApiCall, guild: Guild, data: Json, errors: FormErrors, path: Path) -> Json:
    emoji = {"id": errors.snowflake(path, data, "emoji_id"), "name": _parse_emoji_name(data, errors, path)}
    return {
        "id": errors.snowflake(path, data, "id") or call.sandbox.world.new_id(),
        "title": errors.text(path, data, "title", 1, 50),
        "description": errors.text(path, data, "description", 0, 100),
        "emoji": {**emoji, "animated": errors.field(path, data, "emoji_animated", bool) or False},
        "role_ids": _parse_ids(data, "role_ids", guild.roles, errors, path) or [],
        "channel_ids": _parse_ids(data, "channel_ids", guild.channels, errors, path) or [],
    }


def _parse_ids(body: Json, name: str, allowed: dict[str, Any], errors: FormErrors, path: Path) -> list[str] | None:
    """The ids in the field ``name`` of the body, all of which must be in ``allowed``; None without that field."""
    if body.get(name) is None:
        return None
    ids = errors.snowflakes(path, body, name, 500)
    for index, resource_id in enumerate(ids):
        if resource_id not in allowed:
            errors.add((*path, name, index), "BASE_TYPE_INVALID", "Invalid id")
    return ids


def _parse_emoji_name(data: Json, errors: FormErrors, path: Path) -> str | None:
    return errors.text(path, data, "emoji_name", 0, 100) or None


def _has_enough_channels(call: ApiCall, guild: Guild, onboarding: Json) -> bool:
    """Discord: Modify Guild Onboarding: 7 default channels, 5 of which @everyone can write in."""
    ids = set(onboarding["default_channel_ids"])
    if onboarding["mode"] == 1:  # the channels of the prompts count too
        ids |= {
            channel_id
            for prompt in onboarding["prompts"]
            for option in prompt["options"]
            for channel_id in option["channel_ids"]
        }
    new_member = Member("0")
    granted = [
        permissions.compute(call.sandbox.world, guild, new_member, guild.channels[channel_id]) for channel_id in ids
    ]
    writable = sum(bool(bits & permission_bits.SEND) for bits in granted)
    return sum(bool(bits & permission_bits.VIEW) for bits in granted) >= _MIN_VISIBLE and writable >= _MIN_WRITABLE


def _widget_settings(call: ApiCall, guild: Guild) -> Json:
    payload = payloads.guild(guild, call.sandbox.world)
    return {"enabled": payload["widget_enabled"], "channel_id": payload["widget_channel_id"]}

"""What a guild shows to those who come: welcome screen, onboarding, widget (Discord: Guild resource)."""

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
_CHANNELS_MOST = 5  # of a welcome screen
_PROMPTS_MOST, _OPTIONS_MOST = 15, 50
_OPEN_LEAST, _SPOKEN_LEAST = 7, 5  # channels that everyone sees, and in which everyone may write


@route("GET", WELCOME)
def get_welcome_screen(call: ApiCall) -> Json:
    """One that is not switched on, for those who manage the guild."""
    guild = access.guild_of(call)
    screen = guild.pages.get("welcome_screen")
    if screen is None:
        raise unknown("Guild Welcome Screen")
    if not screen["enabled"]:
        access.need(call, guild, "MANAGE_GUILD")
    return _without_switch(screen)


@route("PATCH", WELCOME)
def edit_welcome_screen(call: ApiCall) -> Json:
    guild, body, errors = access.guild_of(call, "MANAGE_GUILD"), call.form, FormErrors()
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
        screen["welcome_channels"] = _welcome_channels(guild, body, errors)
    errors.check()
    guild.pages["welcome_screen"] = screen
    call.sandbox.changed()
    return _without_switch(screen)


@route("GET", ONBOARDING)
def get_onboarding(call: ApiCall) -> Json:
    return _onboarding(access.guild_of(call))


@route("PUT", ONBOARDING)
def put_onboarding(call: ApiCall) -> Json:
    guild, body, errors = access.guild_of(call, "MANAGE_GUILD", "MANAGE_ROLES"), call.form, FormErrors()
    before = _onboarding(guild)
    said: Json = {
        "enabled": errors.field((), body, "enabled", bool),
        "mode": errors.choice((), body, "mode", (0, 1)),
        "default_channel_ids": _ids(body, "default_channel_ids", guild.channels, errors, ()),
        "prompts": _prompts(call, guild, body, errors),
    }
    errors.check()
    after = before | {name: value for name, value in said.items() if value is not None}
    if after["enabled"] and not _enough(call, guild, after):
        raise ApiError(400, 350000, "Cannot enable onboarding, requirements are not met")
    guild.pages["onboarding"] = after
    if changes := audit_log.diff(before, after):
        audit.note(call, guild, AuditAction.ONBOARDING_UPDATE, guild.id, changes=changes)
    return after


@route("GET", WIDGET)
def get_widget_settings(call: ApiCall) -> Json:
    return _widget(call, access.guild_of(call, "MANAGE_GUILD"))


@route("PATCH", WIDGET)
def edit_widget_settings(call: ApiCall) -> Json:
    guild, errors = access.guild_of(call, "MANAGE_GUILD"), FormErrors()
    before = _widget(call, guild)
    enabled, channel_id = errors.field((), call.form, "enabled", bool), errors.snowflake((), call.form, "channel_id")
    errors.check()
    if enabled is not None:
        guild.settings["widget_enabled"] = enabled
    if "channel_id" in call.form:
        guild.settings["widget_channel_id"] = channel_id
    if changes := audit_log.diff(before, _widget(call, guild)):
        call.sandbox.emit("GUILD_UPDATE", payloads.guild(guild, call.sandbox.world), guild.id)
        named = [{**one, "key": f"widget_{one['key']}"} for one in changes]
        audit.note(call, guild, AuditAction.GUILD_UPDATE, guild.id, changes=named)
    return _widget(call, guild)


@route("GET", WIDGET + ".json", token=False)
def get_widget(call: ApiCall) -> Json:
    """For anybody, once it is switched on."""
    guild = call.sandbox.world.guilds.get(call.path["guild"])
    if guild is None:
        raise unknown("Guild")
    if not guild.settings.get("widget_enabled"):
        raise ApiError(403, 50004, "Widget Disabled")
    shown: Json = {"id": guild.id, "name": guild.name, "instant_invite": None, "presence_count": 0}
    return shown | {"channels": [], "members": []}


def _without_switch(screen: Json) -> Json:
    return {key: screen[key] for key in ("description", "welcome_channels")}


def _welcome_channels(guild: Guild, body: Json, errors: FormErrors) -> list[Json]:
    listed, made = errors.objects((), body, "welcome_channels"), []
    errors.at_most(("welcome_channels",), listed, _CHANNELS_MOST)
    for index, one in enumerate(listed):
        path: Path = ("welcome_channels", index)
        channel_id = errors.snowflake(path, one, "channel_id")
        if channel_id not in guild.channels:
            errors.add((*path, "channel_id"), "CHANNEL_INVALID", "Invalid channel")
        shown = {"channel_id": channel_id, "description": errors.text(path, one, "description", 1, 50)}
        emoji = {"emoji_id": errors.snowflake(path, one, "emoji_id"), "emoji_name": _word(one, errors, path)}
        made.append(shown | emoji)
    return made


def _onboarding(guild: Guild) -> Json:
    blank: Json = {"guild_id": guild.id, "prompts": [], "default_channel_ids": [], "enabled": False, "mode": 0}
    return {**blank, **guild.pages.get("onboarding", {})}


def _prompts(call: ApiCall, guild: Guild, body: Json, errors: FormErrors) -> list[Json] | None:
    if body.get("prompts") is None:
        return None
    listed = errors.objects((), body, "prompts")
    errors.at_most(("prompts",), listed, _PROMPTS_MOST)
    return [_prompt(call, guild, one, errors, ("prompts", index)) for index, one in enumerate(listed)]


def _prompt(call: ApiCall, guild: Guild, said: Json, errors: FormErrors, path: Path) -> Json:
    """A question; one whose id is not known gets one."""
    options = errors.objects(path, said, "options")
    if not 1 <= len(options) <= _OPTIONS_MOST:
        errors.add((*path, "options"), "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {_OPTIONS_MOST} in length.")
    known = {one["id"] for one in _onboarding(guild)["prompts"]}
    said_id = errors.snowflake(path, said, "id")
    return {
        "id": said_id if said_id in known else call.sandbox.world.new_id(),
        "title": errors.text(path, said, "title", 1, 100),
        "type": errors.choice(path, said, "type", (0, 1)) or 0,
        "options": [_option(call, guild, one, errors, (*path, "options", at)) for at, one in enumerate(options)],
        "single_select": errors.field(path, said, "single_select", bool) or False,
        "required": errors.field(path, said, "required", bool) or False,
        "in_onboarding": errors.field(path, said, "in_onboarding", bool) or False,
    }


def _option(call: ApiCall, guild: Guild, said: Json, errors: FormErrors, path: Path) -> Json:
    emoji = {"id": errors.snowflake(path, said, "emoji_id"), "name": _word(said, errors, path)}
    return {
        "id": errors.snowflake(path, said, "id") or call.sandbox.world.new_id(),
        "title": errors.text(path, said, "title", 1, 50),
        "description": errors.text(path, said, "description", 0, 100),
        "emoji": {**emoji, "animated": errors.field(path, said, "emoji_animated", bool) or False},
        "role_ids": _ids(said, "role_ids", guild.roles, errors, path) or [],
        "channel_ids": _ids(said, "channel_ids", guild.channels, errors, path) or [],
    }


def _ids(body: Json, name: str, there: dict[str, Any], errors: FormErrors, path: Path) -> list[str] | None:
    """Ids of what is in ``there``; None where the body does not say."""
    if body.get(name) is None:
        return None
    found = errors.snowflakes(path, body, name, 500)
    for index, one in enumerate(found):
        if one not in there:
            errors.add((*path, name, index), "BASE_TYPE_INVALID", "Invalid id")
    return found


def _word(said: Json, errors: FormErrors, path: Path) -> str | None:
    return errors.text(path, said, "emoji_name", 0, 100) or None


def _enough(call: ApiCall, guild: Guild, wanted: Json) -> bool:
    """Discord: Modify Guild Onboarding: so many channels are open from the start, and in so many everyone may write."""
    ids = set(wanted["default_channel_ids"])
    if wanted["mode"] == 1:  # what the questions open counts too
        ids |= {one for prompt in wanted["prompts"] for option in prompt["options"] for one in option["channel_ids"]}
    anybody = Member("0")
    granted = [permissions.compute(call.sandbox.world, guild, anybody, guild.channels[one]) for one in ids]
    spoken = sum(bool(may & permission_bits.SEND) for may in granted)
    return sum(bool(may & permission_bits.VIEW) for may in granted) >= _OPEN_LEAST and spoken >= _SPOKEN_LEAST


def _widget(call: ApiCall, guild: Guild) -> Json:
    shown = payloads.guild(guild, call.sandbox.world)
    return {"enabled": shown["widget_enabled"], "channel_id": shown["widget_channel_id"]}

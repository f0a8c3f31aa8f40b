"""Emojis of a guild. There are no stickers and no sounds, but some libraries request them at start.

Discord: Emoji, Sticker and Soundboard resources.
"""

from __future__ import annotations

import re
from typing import Any

from botctl.sandbox.actions import audit_log
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import payloads, permission_bits, permissions
from botctl.sandbox.model.api_error import ApiError, FormErrors, missing_permissions, unknown
from botctl.sandbox.model.world import Emoji, Guild
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.images import parse_image
from botctl.sandbox.rest.routing import ApiCall, ApiReply, route

Json = dict[str, Any]
EMOJIS = "/guilds/{guild}/emojis"
EMOJI = EMOJIS + "/{emoji}"
_MAX_EMOJIS = 50  # static, and as many animated, in a guild without boosts
_MAX_BYTES = 256 * 1024
_MAX_ROLES = 250
_NAME = re.compile(r"[A-Za-z0-9_]*")


@route("GET", EMOJIS)
def list_emojis(call: ApiCall) -> list[Json]:
    guild = access.get_guild(call)
    return [_payload(call, guild, emoji) for emoji in guild.emojis.values()]


@route("GET", EMOJI)
def get_emoji(call: ApiCall) -> Json:
    guild = access.get_guild(call)
    return _payload(call, guild, _get_emoji(call, guild))


@route("POST", EMOJIS)
def create_emoji(call: ApiCall) -> ApiReply:
    guild = access.get_guild(call, "CREATE_GUILD_EXPRESSIONS")
    emoji = parse_emoji(call)
    if sum(existing.animated == emoji.animated for existing in guild.emojis.values()) >= _MAX_EMOJIS:
        code = 30018 if emoji.animated else 30008
        raise ApiError(400, code, f"Maximum number of {'animated ' * emoji.animated}emojis reached ({_MAX_EMOJIS})")
    guild.emojis[emoji.id] = emoji
    _emit_update(call, guild)
    audit.write_entry(call, guild, AuditAction.EMOJI_CREATE, emoji.id, changes=audit_log.diff({}, {"name": emoji.name}))
    return ApiReply(201, _payload(call, guild, emoji))


@route("PATCH", EMOJI)
def edit_emoji(call: ApiCall) -> Json:
    guild = access.get_guild(call)
    emoji, errors = _get_editable(call, guild), FormErrors()
    before = {"name": emoji.name}
    name = parse_emoji_name(call, errors) if "name" in call.form else emoji.name
    roles = errors.snowflakes((), call.form, "roles", _MAX_ROLES) if "roles" in call.form else emoji.roles
    errors.check()
    emoji.name, emoji.roles = name, roles
    _emit_update(call, guild)
    audit.write_entry(call, guild, AuditAction.EMOJI_UPDATE, emoji.id, changes=audit_log.diff(before, {"name": name}))
    return _payload(call, guild, emoji)


@route("DELETE", EMOJI)
def delete_emoji(call: ApiCall) -> None:
    guild = access.get_guild(call)
    emoji = _get_editable(call, guild)
    del guild.emojis[emoji.id]
    _emit_update(call, guild)
    audit.write_entry(call, guild, AuditAction.EMOJI_DELETE, emoji.id, changes=audit_log.diff({"name": emoji.name}, {}))


@route("GET", "/guilds/{guild}/stickers")
def list_stickers(call: ApiCall) -> list[Json]:
    access.get_guild(call)
    return []


@route("GET", "/soundboard-default-sounds")
def default_sounds(_: ApiCall) -> list[Json]:
    """Always empty."""
    return []


def _get_emoji(call: ApiCall, guild: Guild) -> Emoji:
    emoji = guild.emojis.get(call.path["emoji"])
    if emoji is None:
        raise unknown("Emoji")
    return emoji


def _get_editable(call: ApiCall, guild: Guild) -> Emoji:
    """The emoji of the path. Needs MANAGE_GUILD_EXPRESSIONS; CREATE_GUILD_EXPRESSIONS is enough for its creator."""
    emoji = _get_emoji(call, guild)
    granted = permissions.compute(call.sandbox.world, guild, access.own_member(call, guild))
    sufficient = permission_bits.bits("MANAGE_GUILD_EXPRESSIONS")
    if emoji.user_id == call.app.id:
        sufficient |= permission_bits.bits("CREATE_GUILD_EXPRESSIONS")
    if not granted & sufficient:
        raise missing_permissions()
    return emoji


def _payload(call: ApiCall, guild: Guild, emoji: Emoji) -> Json:
    """The creator is shown only to bots that could edit emojis."""
    payload = payloads.emoji(emoji, call.sandbox.world)
    granted = permissions.compute(call.sandbox.world, guild, access.own_member(call, guild))
    if not granted & permission_bits.bits("CREATE_GUILD_EXPRESSIONS", "MANAGE_GUILD_EXPRESSIONS"):
        del payload["user"]
    return payload


def parse_emoji(call: ApiCall) -> Emoji:
    """The emoji in the body; raises 50035 (invalid body)."""
    errors = FormErrors()
    name, roles = parse_emoji_name(call, errors), errors.snowflakes((), call.form, "roles", _MAX_ROLES)
    decoded = parse_image(errors, (), call.form, "image", _MAX_BYTES)
    if call.form.get("image") is None:
        errors.add(("image",), "BASE_TYPE_REQUIRED", "This field is required")
    errors.check()
    return Emoji(call.sandbox.world.new_id(), name, call.app.id, roles, decoded is not None and decoded.animated)


def parse_emoji_name(call: ApiCall, errors: FormErrors) -> str:
    name = errors.text((), call.form, "name", 2, 32)
    if not _NAME.fullmatch(name):
        errors.add(("name",), "STRING_TYPE_REGEX", "String value did not match validation regex.")
    return name


def _emit_update(call: ApiCall, guild: Guild) -> None:
    emojis = [payloads.emoji(emoji, call.sandbox.world) for emoji in guild.emojis.values()]
    call.sandbox.emit("GUILD_EMOJIS_UPDATE", {"guild_id": guild.id, "emojis": emojis}, guild.id)
    call.sandbox.changed()

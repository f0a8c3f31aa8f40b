"""Emojis of a guild; its stickers, of which there are none, and sounds that some libraries ask for as they start.

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
from botctl.sandbox.rest.images import image
from botctl.sandbox.rest.routing import ApiCall, ApiReply, route

Json = dict[str, Any]
EMOJIS = "/guilds/{guild}/emojis"
EMOJI = EMOJIS + "/{emoji}"
_MOST = 50  # still ones, and as many animated ones, in a guild without boosts
_MOST_BYTES = 256 * 1024
_ROLES_MOST = 250
_NAME = re.compile(r"[A-Za-z0-9_]*")


@route("GET", EMOJIS)
def list_emojis(call: ApiCall) -> list[Json]:
    guild = access.guild_of(call)
    return [_shown(call, guild, one) for one in guild.emojis.values()]


@route("GET", EMOJI)
def get_emoji(call: ApiCall) -> Json:
    guild = access.guild_of(call)
    return _shown(call, guild, _emoji(call, guild))


@route("POST", EMOJIS)
def create_emoji(call: ApiCall) -> ApiReply:
    guild = access.guild_of(call, "CREATE_GUILD_EXPRESSIONS")
    emoji = new_emoji(call)
    if sum(one.animated == emoji.animated for one in guild.emojis.values()) >= _MOST:
        code = 30018 if emoji.animated else 30008
        raise ApiError(400, code, f"Maximum number of {'animated ' * emoji.animated}emojis reached ({_MOST})")
    guild.emojis[emoji.id] = emoji
    _tell(call, guild)
    audit.note(call, guild, AuditAction.EMOJI_CREATE, emoji.id, changes=audit_log.diff({}, {"name": emoji.name}))
    return ApiReply(201, _shown(call, guild, emoji))


@route("PATCH", EMOJI)
def edit_emoji(call: ApiCall) -> Json:
    guild = access.guild_of(call)
    emoji, errors = _editable(call, guild), FormErrors()
    before = {"name": emoji.name}
    name = emoji_name(call, errors) if "name" in call.form else emoji.name
    roles = errors.snowflakes((), call.form, "roles", _ROLES_MOST) if "roles" in call.form else emoji.roles
    errors.check()
    emoji.name, emoji.roles = name, roles
    _tell(call, guild)
    audit.note(call, guild, AuditAction.EMOJI_UPDATE, emoji.id, changes=audit_log.diff(before, {"name": name}))
    return _shown(call, guild, emoji)


@route("DELETE", EMOJI)
def delete_emoji(call: ApiCall) -> None:
    guild = access.guild_of(call)
    emoji = _editable(call, guild)
    del guild.emojis[emoji.id]
    _tell(call, guild)
    audit.note(call, guild, AuditAction.EMOJI_DELETE, emoji.id, changes=audit_log.diff({"name": emoji.name}, {}))


@route("GET", "/guilds/{guild}/stickers")
def list_stickers(call: ApiCall) -> list[Json]:
    access.guild_of(call)
    return []


@route("GET", "/soundboard-default-sounds")
def default_sounds(_: ApiCall) -> list[Json]:
    """None: nothing can be heard here."""
    return []


def _emoji(call: ApiCall, guild: Guild) -> Emoji:
    found = guild.emojis.get(call.path["emoji"])
    if found is None:
        raise unknown("Emoji")
    return found


def _editable(call: ApiCall, guild: Guild) -> Emoji:
    """The emoji of the path: who made it needs CREATE_GUILD_EXPRESSIONS or MANAGE_…, others the latter."""
    emoji = _emoji(call, guild)
    granted = permissions.compute(call.sandbox.world, guild, access.me(call, guild))
    enough = permission_bits.bits("MANAGE_GUILD_EXPRESSIONS")
    if emoji.user_id == call.app.id:
        enough |= permission_bits.bits("CREATE_GUILD_EXPRESSIONS")
    if not granted & enough:
        raise missing_permissions()
    return emoji


def _shown(call: ApiCall, guild: Guild, emoji: Emoji) -> Json:
    """Who made it is seen by those who could change emojis."""
    shown = payloads.emoji(emoji, call.sandbox.world)
    granted = permissions.compute(call.sandbox.world, guild, access.me(call, guild))
    if not granted & permission_bits.bits("CREATE_GUILD_EXPRESSIONS", "MANAGE_GUILD_EXPRESSIONS"):
        del shown["user"]
    return shown


def new_emoji(call: ApiCall) -> Emoji:
    """The emoji that the body describes; raises 50035."""
    errors = FormErrors()
    name, roles = emoji_name(call, errors), errors.snowflakes((), call.form, "roles", _ROLES_MOST)
    picture = image(errors, (), call.form, "image", _MOST_BYTES)
    if call.form.get("image") is None:
        errors.add(("image",), "BASE_TYPE_REQUIRED", "This field is required")
    errors.check()
    return Emoji(call.sandbox.world.new_id(), name, call.app.id, roles, picture is not None and picture.animated)


def emoji_name(call: ApiCall, errors: FormErrors) -> str:
    name = errors.text((), call.form, "name", 2, 32)
    if not _NAME.fullmatch(name):
        errors.add(("name",), "STRING_TYPE_REGEX", "String value did not match validation regex.")
    return name


def _tell(call: ApiCall, guild: Guild) -> None:
    emojis = [payloads.emoji(one, call.sandbox.world) for one in guild.emojis.values()]
    call.sandbox.emit("GUILD_EMOJIS_UPDATE", {"guild_id": guild.id, "emojis": emojis}, guild.id)
    call.sandbox.changed()

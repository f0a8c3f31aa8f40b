"""Application emojis, which the bot can use in every guild (Discord: Emoji resource > Application endpoints)."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.model import payloads
from botctl.sandbox.model.api_error import ApiError, FormErrors, unknown
from botctl.sandbox.model.world import Emoji
from botctl.sandbox.rest.access import require_own_application
from botctl.sandbox.rest.routes.emojis import parse_emoji, parse_emoji_name
from botctl.sandbox.rest.routing import ApiCall, ApiReply, route

Json = dict[str, Any]
EMOJIS = "/applications/{application}/emojis"
EMOJI = EMOJIS + "/{emoji}"
_MAX_EMOJIS = 2000


@route("GET", EMOJIS)
def list_own_emojis(call: ApiCall) -> Json:
    require_own_application(call)
    return {"items": [payloads.emoji(emoji, call.sandbox.world) for emoji in call.app.emojis.values()]}


@route("GET", EMOJI)
def get_own_emoji(call: ApiCall) -> Json:
    return payloads.emoji(_get_emoji(call), call.sandbox.world)


@route("POST", EMOJIS)
def create_own_emoji(call: ApiCall) -> ApiReply:
    require_own_application(call)
    emoji = parse_emoji(call)
    if len(call.app.emojis) >= _MAX_EMOJIS:
        raise ApiError(400, 30008, f"Maximum number of emojis reached ({_MAX_EMOJIS})")
    call.app.emojis[emoji.id] = emoji
    call.sandbox.changed()
    return ApiReply(201, payloads.emoji(emoji, call.sandbox.world))


@route("PATCH", EMOJI)
def edit_own_emoji(call: ApiCall) -> Json:
    emoji, errors = _get_emoji(call), FormErrors()
    name = parse_emoji_name(call, errors)
    errors.check()
    emoji.name = name
    call.sandbox.changed()
    return payloads.emoji(emoji, call.sandbox.world)


@route("DELETE", EMOJI)
def delete_own_emoji(call: ApiCall) -> None:
    del call.app.emojis[_get_emoji(call).id]
    call.sandbox.changed()


def _get_emoji(call: ApiCall) -> Emoji:
    require_own_application(call)
    emoji = call.app.emojis.get(call.path["emoji"])
    if emoji is None:
        raise unknown("Emoji")
    return emoji

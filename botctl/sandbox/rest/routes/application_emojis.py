"""Emojis of the bot's own, which it may use in every guild (Discord: Emoji resource > Application endpoints)."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.model import payloads
from botctl.sandbox.model.api_error import ApiError, FormErrors, unknown
from botctl.sandbox.model.world import Emoji
from botctl.sandbox.rest.access import own_application
from botctl.sandbox.rest.routes.emojis import emoji_name, new_emoji
from botctl.sandbox.rest.routing import ApiCall, ApiReply, route

Json = dict[str, Any]
EMOJIS = "/applications/{application}/emojis"
EMOJI = EMOJIS + "/{emoji}"
_MOST = 2000


@route("GET", EMOJIS)
def list_own_emojis(call: ApiCall) -> Json:
    own_application(call)
    return {"items": [payloads.emoji(one, call.sandbox.world) for one in call.app.emojis.values()]}


@route("GET", EMOJI)
def get_own_emoji(call: ApiCall) -> Json:
    return payloads.emoji(_emoji(call), call.sandbox.world)


@route("POST", EMOJIS)
def create_own_emoji(call: ApiCall) -> ApiReply:
    own_application(call)
    emoji = new_emoji(call)
    if len(call.app.emojis) >= _MOST:
        raise ApiError(400, 30008, f"Maximum number of emojis reached ({_MOST})")
    call.app.emojis[emoji.id] = emoji
    call.sandbox.changed()
    return ApiReply(201, payloads.emoji(emoji, call.sandbox.world))


@route("PATCH", EMOJI)
def edit_own_emoji(call: ApiCall) -> Json:
    emoji, errors = _emoji(call), FormErrors()
    name = emoji_name(call, errors)
    errors.check()
    emoji.name = name
    call.sandbox.changed()
    return payloads.emoji(emoji, call.sandbox.world)


@route("DELETE", EMOJI)
def delete_own_emoji(call: ApiCall) -> None:
    del call.app.emojis[_emoji(call).id]
    call.sandbox.changed()


def _emoji(call: ApiCall) -> Emoji:
    own_application(call)
    found = call.app.emojis.get(call.path["emoji"])
    if found is None:
        raise unknown("Emoji")
    return found

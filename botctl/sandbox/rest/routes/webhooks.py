"""Webhooks, by the bot's token and by their own (Discord: Webhook resource).

The token of an interaction is used as a webhook too, whose id is the application's: what is no webhook of a channel is
left to `routes.interactions`.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from botctl.sandbox.actions import audit_log, posting, threads
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import payloads, permission_bits
from botctl.sandbox.model.api_error import ApiError, FormErrors, unknown, wrong_channel
from botctl.sandbox.model.channels.types import ANNOUNCEMENT, FORUM, PUBLIC_THREAD, STAGE, TEXT, VOICE
from botctl.sandbox.model.messages import components, drafts
from botctl.sandbox.model.world import Channel, Message, Webhook
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.images import image
from botctl.sandbox.rest.routes import interactions
from botctl.sandbox.rest.routing import PREFIX, ApiCall, route

Json = dict[str, Any]
OF_CHANNEL = "/channels/{channel}/webhooks"
WEBHOOK = "/webhooks/{webhook}"
OPEN = "/webhooks/{webhook}/{token}"
MESSAGE = OPEN + "/messages/{message}"
_MOST = 15
_NAME_MAX = 80
_PLACES = (TEXT, VOICE, ANNOUNCEMENT, STAGE, FORUM)  # where webhooks can be
_INTERACTIVE = components.CLICKABLE
_MAY = permission_bits.ALL & ~permission_bits.bits("MANAGE_THREADS")  # what a webhook may where it is
_FORBIDDEN = ("clyde", "discord")


@route("POST", OF_CHANNEL)
def create_webhook(call: ApiCall) -> Json:
    channel = _place(call)
    world, errors = call.sandbox.world, FormErrors()
    name = _name(errors, call.form, "name")
    picture = image(errors, (), call.form, "avatar")
    errors.check()
    if len(_of_channel(call, channel)) >= _MOST:
        raise ApiError(400, 30007, f"Maximum number of webhooks reached ({_MOST})")
    hook = Webhook(
        world.new_id(),
        secrets.token_urlsafe(51),
        channel.guild_id,
        channel.id,
        name,
        user_id=call.app.id,
        application_id=call.app.id,
        avatar=picture.hash if picture else None,
    )
    world.webhooks[hook.id] = hook
    _changed(call, hook, AuditAction.WEBHOOK_CREATE, {}, _logged(hook))
    return _shown(call, hook)


@route("GET", OF_CHANNEL)
def list_of_channel(call: ApiCall) -> list[Json]:
    return [_shown(call, one) for one in _of_channel(call, _place(call))]


@route("GET", "/guilds/{guild}/webhooks")
def list_of_guild(call: ApiCall) -> list[Json]:
    guild = access.guild_of(call, "MANAGE_WEBHOOKS")
    return [_shown(call, one) for one in call.sandbox.world.webhooks.values() if one.guild_id == guild.id]


@route("GET", WEBHOOK)
def get_webhook(call: ApiCall) -> Json:
    """One's own also without the permission (Discord: Get Webhook)."""
    hook = _there(call)
    return _shown(call, hook if hook.application_id == call.app.id else _managed(call))


@route("PATCH", WEBHOOK)
def edit_webhook(call: ApiCall) -> Json:
    """Its name, its picture, its channel."""
    hook, world, errors = _managed(call), call.sandbox.world, FormErrors()
    wanted = errors.snowflake((), call.form, "channel_id") or hook.channel_id
    errors.check()
    target = world.channels.get(wanted)
    if target is None or target.guild_id != hook.guild_id:
        raise unknown("Channel")
    access.need_in(call, target, "MANAGE_WEBHOOKS")
    _edit(call, hook, target.id)
    return _shown(call, hook)


@route("DELETE", WEBHOOK)
def delete_webhook(call: ApiCall) -> None:
    _delete(call, _managed(call))


@route("GET", OPEN, token=False)
def get_by_token(call: ApiCall) -> Json:
    return _without_user(_shown(call, _by_token(call)))


@route("PATCH", OPEN, token=False)
def edit_by_token(call: ApiCall) -> Json:
    hook = _by_token(call)
    _edit(call, hook, hook.channel_id)
    return _without_user(_shown(call, hook))


@route("DELETE", OPEN, token=False)
def delete_by_token(call: ApiCall) -> None:
    _delete(call, _by_token(call))


@route("POST", OPEN, token=False)
def execute(call: ApiCall) -> Json | None:
    """Without ``wait`` nothing is said of the message, not even that there is one."""
    if call.path["webhook"] not in call.sandbox.world.webhooks:
        return interactions.follow_up(call)
    hook = _by_token(call)
    message = _say(call, hook)
    return payloads.message(message, call.sandbox.world) if call.flag("wait") else None


@route("GET", MESSAGE, token=False)
def get_message(call: ApiCall) -> Json:
    if call.path["webhook"] not in call.sandbox.world.webhooks:
        return interactions.get_message(call)
    return payloads.message(_own(call), call.sandbox.world)


@route("PATCH", MESSAGE, token=False)
def edit_message(call: ApiCall) -> Json:
    if call.path["webhook"] not in call.sandbox.world.webhooks:
        return interactions.edit_message(call)
    message = _own(call)
    made = drafts.parse_body(call.form, call.uploads, call.sandbox.world, old=message)
    return payloads.message(posting.edit(call.sandbox, message, made, granted=_MAY), call.sandbox.world)


@route("DELETE", MESSAGE, token=False)
def delete_message(call: ApiCall) -> None:
    if call.path["webhook"] not in call.sandbox.world.webhooks:
        interactions.delete_message(call)
    else:
        posting.delete(call.sandbox, _own(call), granted=_MAY)


def _place(call: ApiCall) -> Channel:
    channel = access.channel_of(call)
    if not channel.guild_id or channel.type not in _PLACES:
        raise wrong_channel()
    access.need_in(call, channel, "MANAGE_WEBHOOKS")
    return channel


def _of_channel(call: ApiCall, channel: Channel) -> list[Webhook]:
    return [one for one in call.sandbox.world.webhooks.values() if one.channel_id == channel.id]


def _managed(call: ApiCall) -> Webhook:
    """The webhook of the path, in whose channel the bot manages webhooks; raises 10015, 50001, 50013."""
    hook = _there(call)
    access.need_in(call, call.sandbox.world.channels[hook.channel_id], "MANAGE_WEBHOOKS")
    return hook


def _there(call: ApiCall) -> Webhook:
    """The webhook of the path, which is in a guild of the bot's; raises 10015."""
    world = call.sandbox.world
    hook = world.webhooks.get(call.path["webhook"])
    if hook is None or call.app.id not in world.guilds[hook.guild_id].members:
        raise unknown("Webhook")
    return hook


def _by_token(call: ApiCall) -> Webhook:
    """The webhook of the path; raises 10015, and 50027 for a wrong token."""
    hook = call.sandbox.world.webhooks.get(call.path["webhook"])
    if hook is None:
        raise unknown("Webhook")
    if not secrets.compare_digest(hook.token.encode(), call.path["token"].encode()):
        raise ApiError(401, 50027, "Invalid Webhook Token")
    return hook


def _name(errors: FormErrors, body: Json, field: str) -> str:
    """A name that a webhook may have (Discord: Create Webhook)."""
    name = errors.text((), body, field, 1, _NAME_MAX)
    for word in _FORBIDDEN:
        if word in name.lower():
            errors.add((field,), "USERNAME_INVALID_CONTAINS", f'Username cannot contain "{word}"')
    return name


def _edit(call: ApiCall, hook: Webhook, channel_id: str) -> None:
    errors, before, was_in = FormErrors(), _logged(hook), hook.channel_id
    name = _name(errors, call.form, "name") if call.form.get("name") is not None else hook.name
    picture = image(errors, (), call.form, "avatar")
    errors.check()
    hook.name, hook.channel_id = name, channel_id
    if "avatar" in call.form:
        hook.avatar = picture.hash if picture else None
    _changed(call, hook, AuditAction.WEBHOOK_UPDATE, before, _logged(hook))
    if was_in != channel_id:
        _tell(call, hook.guild_id, was_in)


def _delete(call: ApiCall, hook: Webhook) -> None:
    del call.sandbox.world.webhooks[hook.id]
    _changed(call, hook, AuditAction.WEBHOOK_DELETE, _logged(hook), {})


def _changed(call: ApiCall, hook: Webhook, action: AuditAction, before: Json, after: Json) -> None:
    """Tell of it; who acts by the webhook's own token is in no audit log."""
    _tell(call, hook.guild_id, hook.channel_id)
    changes = audit_log.diff(before, after)
    if call.caller is not None and changes:
        audit.note(call, call.sandbox.world.guilds[hook.guild_id], action, hook.id, changes=changes)
    call.sandbox.changed()


def _tell(call: ApiCall, guild_id: str, channel_id: str) -> None:
    channel = call.sandbox.world.channels[channel_id]
    event = {"guild_id": guild_id, "channel_id": channel_id}
    call.sandbox.emit("WEBHOOKS_UPDATE", event, guild_id, channel=channel)


def _logged(hook: Webhook) -> Json:
    return {"name": hook.name, "channel_id": hook.channel_id, "avatar_hash": hook.avatar or "", "type": 1}


def _shown(call: ApiCall, hook: Webhook) -> Json:
    """The token only to its own application, and to those who have it already."""
    shown = payloads.webhook(hook, call.sandbox.world, api=call.sandbox.url + PREFIX)
    known = call.path.get("token") == hook.token or (call.caller and call.caller.id == hook.application_id)
    return shown if known else {key: value for key, value in shown.items() if key not in ("token", "url")}


def _without_user(shown: Json) -> Json:
    return {key: value for key, value in shown.items() if key != "user"}


def _say(call: ApiCall, hook: Webhook) -> Message:
    world, body, errors = call.sandbox.world, call.form, FormErrors()
    name = _name(errors, body, "username") if body.get("username") is not None else None
    avatar = errors.text((), body, "avatar_url", 0, 2048)
    tts = errors.field((), body, "tts", bool) or False
    errors.check()
    if not (hook.application_id or call.flag("with_components")):
        body = {key: value for key, value in body.items() if key != "components"}
    made = drafts.parse_body(body, call.uploads, world)
    _check_components(hook, made.fields.get("components", []))
    channel, more = _channel(call, hook)
    return posting.post(
        call.sandbox,
        channel,
        made,
        hook.id,
        granted=_MAY,
        webhook_id=hook.id,
        name=name,
        tts=tts,
        avatar=hashlib.md5(avatar.encode(), usedforsecurity=False).hexdigest() if avatar else None,
        **more,
    )


def _check_components(hook: Webhook, listed: list[Json]) -> None:
    """Only those of an application's webhook can be used."""
    if hook.application_id is None and any(one["type"] in _INTERACTIVE for one in components.walk(listed)):
        errors = FormErrors()
        words = "Only an application's webhook can have interactive components"
        errors.add(("components",), "WEBHOOK_COMPONENTS_INVALID", words)
        errors.check()


def _channel(call: ApiCall, hook: Webhook) -> tuple[Channel, Json]:
    """Where it speaks: its channel, the thread of ``thread_id``, or a new post of its forum, of which the message has
    the id.
    """
    world = call.sandbox.world
    channel = world.channels[hook.channel_id]
    thread_id, title = call.query.get("thread_id"), call.form.get("thread_name")
    if thread_id and title:
        raise ApiError(400, 220002, "Webhooks posted to forum channels cannot have both a thread_name and thread_id")
    if thread_id:
        thread = world.channels.get(thread_id)
        if thread is None or thread.parent_id != channel.id or thread.thread is None:
            raise unknown("Channel")
        return thread, {}
    if channel.type != FORUM:
        if title:
            raise ApiError(400, 220003, "Webhooks can only create threads in forum channels")
        return channel, {}
    if not title:
        raise ApiError(400, 220001, "Webhooks posted to forum channels must have a thread_name or thread_id")
    name, fields = threads.parse_form({"name": title})
    made = threads.create(call.sandbox, channel, hook.id, name, PUBLIC_THREAD, **fields)
    return made, {"id": made.id}


def _own(call: ApiCall) -> Message:
    """The message of the path, which the webhook itself has said; raises 10008."""
    hook, world = _by_token(call), call.sandbox.world
    place = call.query.get("thread_id") or hook.channel_id
    found = world.message(place, call.path["message"])
    if found is None or found.webhook_id != hook.id:
        raise unknown("Message")
    return found

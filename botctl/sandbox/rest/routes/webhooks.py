"""Webhooks: routes for the bot's token, and routes with a webhook's token (Discord: Webhook resource).

An interaction's token is a webhook token too, with the application's id as the webhook's id: `routes.interactions`
handles these requests.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from botctl.sandbox.actions import audit_log, posting, threads
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import payloads, permission_bits
from botctl.sandbox.model.api_error import ApiError, FormErrors, unknown, wrong_channel_type
from botctl.sandbox.model.channels.types import ANNOUNCEMENT, FORUM, PUBLIC_THREAD, STAGE, TEXT, VOICE
from botctl.sandbox.model.messages import components, drafts
from botctl.sandbox.model.world import Channel, Message, Webhook
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.images import parse_image
from botctl.sandbox.rest.routes import interactions
from botctl.sandbox.rest.routing import PREFIX, ApiCall, route

Json = dict[str, Any]
OF_CHANNEL = "/channels/{channel}/webhooks"
WEBHOOK = "/webhooks/{webhook}"
WEBHOOK_URL = "/webhooks/{webhook}/{token}"
MESSAGE = WEBHOOK_URL + "/messages/{message}"
_MAX_WEBHOOKS = 15
_MAX_NAME = 80
_CHANNEL_TYPES = (TEXT, VOICE, ANNOUNCEMENT, STAGE, FORUM)  # that can have webhooks
_INTERACTIVE = components.CLICKABLE  # types of buttons and select menus
_PERMISSIONS = permission_bits.ALL & ~permission_bits.bits("MANAGE_THREADS")  # of a webhook in its channel
_FORBIDDEN_WORDS = ("clyde", "discord")


@route("POST", OF_CHANNEL)
def create_webhook(call: ApiCall) -> Json:
    channel = _get_channel(call)
    world, errors = call.sandbox.world, FormErrors()
    name = _parse_name(errors, call.form, "name")
    avatar = parse_image(errors, (), call.form, "avatar")
    errors.check()
    if len(_channel_webhooks(call, channel)) >= _MAX_WEBHOOKS:
        raise ApiError(400, 30007, f"Maximum number of webhooks reached ({_MAX_WEBHOOKS})")
    webhook = Webhook(
        world.new_id(),
        secrets.token_urlsafe(51),
        channel.guild_id,
        channel.id,
        name,
        user_id=call.app.id,
        application_id=call.app.id,
        avatar=avatar.hash if avatar else None,
    )
    world.webhooks[webhook.id] = webhook
    _publish_change(call, webhook, AuditAction.WEBHOOK_CREATE, {}, _audited_fields(webhook))
    return _payload(call, webhook)


@route("GET", OF_CHANNEL)
def list_of_channel(call: ApiCall) -> list[Json]:
    return [_payload(call, webhook) for webhook in _channel_webhooks(call, _get_channel(call))]


@route("GET", "/guilds/{guild}/webhooks")
def list_of_guild(call: ApiCall) -> list[Json]:
    guild = access.get_guild(call, "MANAGE_WEBHOOKS")
    return [_payload(call, webhook) for webhook in call.sandbox.world.webhooks.values() if webhook.guild_id == guild.id]


@route("GET", WEBHOOK)
def get_webhook(call: ApiCall) -> Json:
    """A bot reads its own webhook without permission (Discord: Get Webhook)."""
    webhook = _get_webhook(call)
    return _payload(call, webhook if webhook.application_id == call.app.id else _get_managed(call))


@route("PATCH", WEBHOOK)
def edit_webhook(call: ApiCall) -> Json:
    """Changes name, avatar and channel."""
    webhook, world, errors = _get_managed(call), call.sandbox.world, FormErrors()
    channel_id = errors.snowflake((), call.form, "channel_id") or webhook.channel_id
    errors.check()
    target = world.channels.get(channel_id)
    if target is None or target.guild_id != webhook.guild_id:
        raise unknown("Channel")
    access.require_permissions_in(call, target, "MANAGE_WEBHOOKS")
    _edit(call, webhook, target.id)
    return _payload(call, webhook)


@route("DELETE", WEBHOOK)
def delete_webhook(call: ApiCall) -> None:
    _delete(call, _get_managed(call))


@route("GET", WEBHOOK_URL, token=False)
def get_by_token(call: ApiCall) -> Json:
    return _without_user(_payload(call, _get_by_token(call)))


@route("PATCH", WEBHOOK_URL, token=False)
def edit_by_token(call: ApiCall) -> Json:
    webhook = _get_by_token(call)
    _edit(call, webhook, webhook.channel_id)
    return _without_user(_payload(call, webhook))


@route("DELETE", WEBHOOK_URL, token=False)
def delete_by_token(call: ApiCall) -> None:
    _delete(call, _get_by_token(call))


@route("POST", WEBHOOK_URL, token=False)
def execute(call: ApiCall) -> Json | None:
    """Returns the message only with ``wait``."""
    if call.path["webhook"] not in call.sandbox.world.webhooks:
        return interactions.follow_up(call)
    webhook = _get_by_token(call)
    message = _post_message(call, webhook)
    return payloads.message(message, call.sandbox.world) if call.flag("wait") else None


@route("GET", MESSAGE, token=False)
def get_message(call: ApiCall) -> Json:
    if call.path["webhook"] not in call.sandbox.world.webhooks:
        return interactions.get_message(call)
    return payloads.message(_get_own_message(call), call.sandbox.world)


@route("PATCH", MESSAGE, token=False)
def edit_message(call: ApiCall) -> Json:
    if call.path["webhook"] not in call.sandbox.world.webhooks:
        return interactions.edit_message(call)
    message = _get_own_message(call)
    draft = drafts.parse_body(call.form, call.uploads, call.sandbox.world, old=message)
    return payloads.message(posting.edit(call.sandbox, message, draft, granted=_PERMISSIONS), call.sandbox.world)


@route("DELETE", MESSAGE, token=False)
def delete_message(call: ApiCall) -> None:
    if call.path["webhook"] not in call.sandbox.world.webhooks:
        interactions.delete_message(call)
    else:
        posting.delete(call.sandbox, _get_own_message(call), granted=_PERMISSIONS)


def _get_channel(call: ApiCall) -> Channel:
    channel = access.get_channel(call)
    if not channel.guild_id or channel.type not in _CHANNEL_TYPES:
        raise wrong_channel_type()
    access.require_permissions_in(call, channel, "MANAGE_WEBHOOKS")
    return channel


def _channel_webhooks(call: ApiCall, channel: Channel) -> list[Webhook]:
    return [webhook for webhook in call.sandbox.world.webhooks.values() if webhook.channel_id == channel.id]


def _get_managed(call: ApiCall) -> Webhook:
    """The webhook of the path; raises 10015 (unknown), and 50001 or 50013 without MANAGE_WEBHOOKS in its channel."""
    webhook = _get_webhook(call)
    access.require_permissions_in(call, call.sandbox.world.channels[webhook.channel_id], "MANAGE_WEBHOOKS")
    return webhook


def _get_webhook(call: ApiCall) -> Webhook:
    """The webhook of the path; raises 10015 (unknown) when it is in none of the bot's guilds."""
    world = call.sandbox.world
    webhook = world.webhooks.get(call.path["webhook"])
    if webhook is None or call.app.id not in world.guilds[webhook.guild_id].members:
        raise unknown("Webhook")
    return webhook


def _get_by_token(call: ApiCall) -> Webhook:
    """The webhook of the path; raises 10015 (unknown), and 50027 for a wrong token."""
    webhook = call.sandbox.world.webhooks.get(call.path["webhook"])
    if webhook is None:
        raise unknown("Webhook")
    if not secrets.compare_digest(webhook.token.encode(), call.path["token"].encode()):
        raise ApiError(401, 50027, "Invalid Webhook Token")
    return webhook


def _parse_name(errors: FormErrors, body: Json, field: str) -> str:
    """A valid webhook name (Discord: Create Webhook)."""
    name = errors.text((), body, field, 1, _MAX_NAME)
    for word in _FORBIDDEN_WORDS:
        if word in name.lower():
            errors.add((field,), "USERNAME_INVALID_CONTAINS", f'Username cannot contain "{word}"')
    return name


def _edit(call: ApiCall, webhook: Webhook, channel_id: str) -> None:
    errors, before, was_in = FormErrors(), _audited_fields(webhook), webhook.channel_id
    name = _parse_name(errors, call.form, "name") if call.form.get("name") is not None else webhook.name
    avatar = parse_image(errors, (), call.form, "avatar")
    errors.check()
    webhook.name, webhook.channel_id = name, channel_id
    if "avatar" in call.form:
        webhook.avatar = avatar.hash if avatar else None
    _publish_change(call, webhook, AuditAction.WEBHOOK_UPDATE, before, _audited_fields(webhook))
    if was_in != channel_id:
        _emit_update(call, webhook.guild_id, was_in)


def _delete(call: ApiCall, webhook: Webhook) -> None:
    del call.sandbox.world.webhooks[webhook.id]
    _publish_change(call, webhook, AuditAction.WEBHOOK_DELETE, _audited_fields(webhook), {})


def _publish_change(call: ApiCall, webhook: Webhook, action: AuditAction, before: Json, after: Json) -> None:
    """Emit the event and write the audit log entry; a request with the webhook's own token gets no entry."""
    _emit_update(call, webhook.guild_id, webhook.channel_id)
    changes = audit_log.diff(before, after)
    if call.caller is not None and changes:
        audit.write_entry(call, call.sandbox.world.guilds[webhook.guild_id], action, webhook.id, changes=changes)
    call.sandbox.changed()


def _emit_update(call: ApiCall, guild_id: str, channel_id: str) -> None:
    channel = call.sandbox.world.channels[channel_id]
    event = {"guild_id": guild_id, "channel_id": channel_id}
    call.sandbox.emit("WEBHOOKS_UPDATE", event, guild_id, channel=channel)


def _audited_fields(webhook: Webhook) -> Json:
    return {"name": webhook.name, "channel_id": webhook.channel_id, "avatar_hash": webhook.avatar or "", "type": 1}


def _payload(call: ApiCall, webhook: Webhook) -> Json:
    """Contains the token if the application owns the webhook, or the request was made with the token."""
    payload = payloads.webhook(webhook, call.sandbox.world, api=call.sandbox.url + PREFIX)
    has_token = call.path.get("token") == webhook.token or (call.caller and call.caller.id == webhook.application_id)
    return payload if has_token else {key: value for key, value in payload.items() if key not in ("token", "url")}


def _without_user(payload: Json) -> Json:
    return {key: value for key, value in payload.items() if key != "user"}


def _post_message(call: ApiCall, webhook: Webhook) -> Message:
    world, body, errors = call.sandbox.world, call.form, FormErrors()
    name = _parse_name(errors, body, "username") if body.get("username") is not None else None
    avatar = errors.text((), body, "avatar_url", 0, 2048)
    tts = errors.field((), body, "tts", bool) or False
    errors.check()
    if not (webhook.application_id or call.flag("with_components")):
        body = {key: value for key, value in body.items() if key != "components"}
    draft = drafts.parse_body(body, call.uploads, world)
    _check_components(webhook, draft.fields.get("components", []))
    channel, fields = _target_channel(call, webhook)
    return posting.post(
        call.sandbox,
        channel,
        draft,
        webhook.id,
        granted=_PERMISSIONS,
        webhook_id=webhook.id,
        name=name,
        tts=tts,
        avatar=hashlib.md5(avatar.encode(), usedforsecurity=False).hexdigest() if avatar else None,
        **fields,
    )


def _check_components(webhook: Webhook, rows: list[Json]) -> None:
    """Only an application's webhook can have interactive components."""
    if webhook.application_id is None and any(component["type"] in _INTERACTIVE for component in components.walk(rows)):
        errors = FormErrors()
        text = "Only an application's webhook can have interactive components"
        errors.add(("components",), "WEBHOOK_COMPONENTS_INVALID", text)
        errors.check()


def _target_channel(call: ApiCall, webhook: Webhook) -> tuple[Channel, Json]:
    """The webhook's channel, the thread of ``thread_id``, or a new forum post, whose id the message gets."""
    world = call.sandbox.world
    channel = world.channels[webhook.channel_id]
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
    name, fields = threads.parse_body({"name": title})
    post = threads.create(call.sandbox, channel, webhook.id, name, PUBLIC_THREAD, **fields)
    return post, {"id": post.id}


def _get_own_message(call: ApiCall) -> Message:
    """The message of the path; raises 10008 (unknown message) when another author wrote it."""
    webhook, world = _get_by_token(call), call.sandbox.world
    channel_id = call.query.get("thread_id") or webhook.channel_id
    message = world.message(channel_id, call.path["message"])
    if message is None or message.webhook_id != webhook.id:
        raise unknown("Message")
    return message

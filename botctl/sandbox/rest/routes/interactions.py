"""Answers to interactions: the callback, and the messages that its token may make.

Discord: Receiving and Responding.
"""

from __future__ import annotations

from typing import Any

from botctl.sandbox.model import interactions, payloads
from botctl.sandbox.model.api_error import ApiError, FormErrors, unknown
from botctl.sandbox.model.interactions import Interaction
from botctl.sandbox.model.messages import drafts, mentions
from botctl.sandbox.model.messages.drafts import Draft
from botctl.sandbox.model.world import EPHEMERAL, LOADING, Message
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]


@route("POST", "/interactions/{interaction}/{token}/callback", token=False)
def callback(call: ApiCall) -> Json | None:
    now_s = call.sandbox.world.clock.monotonic()
    interaction = call.sandbox.interactions.get_unanswered(call.path["interaction"], call.path["token"], now_s)
    _check_place(call, interaction)
    kind = interactions.check_callback(interaction, call.form)
    errors = FormErrors()
    data = errors.field((), call.form, "data", dict) or {}
    errors.check()
    message = _acknowledge(call, interaction, kind, data)
    interaction.changed()
    return _described(call, interaction, kind, message) if call.flag("with_response") else None


# What the token of an interaction may do as a webhook; `routes.webhooks` has the routes.


def get_message(call: ApiCall) -> Json:
    interaction, world = _interaction(call), call.sandbox.world
    message = interactions.own_message(world, interaction, call.path["message"])
    return payloads.message(message, world, viewer=interaction.application_id)


def edit_message(call: ApiCall) -> Json:
    interaction, world = _interaction(call), call.sandbox.world
    message = interactions.own_message(world, interaction, call.path["message"])
    made = _draft(call, call.form, old=message)
    call.sandbox.emit_message_update(interactions.edit(world, interaction, message, made))
    interaction.changed()
    return payloads.message(message, world, viewer=interaction.application_id)


def delete_message(call: ApiCall) -> None:
    interaction, world = _interaction(call), call.sandbox.world
    message = interactions.own_message(world, interaction, call.path["message"])
    interactions.delete(world, interaction, message)
    call.sandbox.emit_message_delete(message)
    interaction.changed()


def follow_up(call: ApiCall) -> Json:
    interaction, sandbox = _interaction(call), call.sandbox
    message, new = interactions.follow_up(sandbox.world, interaction, _draft(call, call.form))
    tell = sandbox.emit_message_create if new else sandbox.emit_message_update
    tell(message)
    interaction.changed()
    return payloads.message(message, sandbox.world)


def _interaction(call: ApiCall) -> Interaction:
    now_s = call.sandbox.world.clock.monotonic()
    found = call.sandbox.interactions.get_answered(call.path["webhook"], call.path["token"], now_s)
    _check_place(call, found)
    return found


def _check_place(call: ApiCall, interaction: Interaction) -> None:
    """Raises 10003 when the channel was deleted meanwhile."""
    if interaction.channel_id not in call.sandbox.world.channels:
        raise unknown("Channel")


def _draft(call: ApiCall, body: Json, *, old: Message | None = None) -> Draft:
    made = drafts.parse_body(body, call.uploads, call.sandbox.world, old=old, default_mentions=mentions.USER_MENTIONS)
    call.sandbox.store_uploads(made)
    return made


def _data(call: ApiCall, data: Json, *, old: Message | None = None) -> Draft:
    """The message in the ``data`` of a callback; what is wrong with it is named by its place there."""
    try:
        return _draft(call, data, old=old)
    except ApiError as refusal:
        if refusal.errors:
            refusal.errors = {"data": refusal.errors}
        raise


def _acknowledge(call: ApiCall, interaction: Interaction, kind: int, data: Json) -> Message | None:
    """Do what the callback says; the message that it made or changed, if any."""
    sandbox, world = call.sandbox, call.sandbox.world
    match kind:
        case interactions.REPLY:
            return sandbox.emit_message_create(interactions.reply(world, interaction, _data(call, data)))
        case interactions.DEFER:
            return sandbox.emit_message_create(interactions.defer(world, interaction, _flags(data)))
        case interactions.UPDATE:
            made = _data(call, data, old=interactions.source_message(world, interaction))
            return sandbox.emit_message_update(interactions.update(world, interaction, made))
        case interactions.DEFER_UPDATE:
            interactions.defer_update(interaction)
        case interactions.CHOICES:
            interactions.offer_choices(interaction, data)
        case interactions.MODAL:
            interactions.open_modal(interaction, data)
            sandbox.modals[interaction.user_id] = interaction
    return None


def _flags(data: Json) -> int:
    errors = FormErrors()
    flags = errors.field(("data",), data, "flags", int) or 0
    errors.check()
    return flags


def _described(call: ApiCall, interaction: Interaction, kind: int, message: Message | None) -> Json:
    """``with_response``: the interaction, and what came of it."""
    shown: Json = {"id": interaction.id, "type": interaction.type}
    resource: Json = {"type": kind}
    if message is not None:
        shown |= {
            "response_message_id": message.id,
            "response_message_loading": bool(message.flags & LOADING),
            "response_message_ephemeral": bool(message.flags & EPHEMERAL),
        }
        resource["message"] = payloads.message(message, call.sandbox.world)
    return {"interaction": shown, "resource": resource} if message is not None else {"interaction": shown}

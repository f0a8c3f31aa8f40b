"""Interaction callbacks, and follow-up messages, whose routes are in `webhooks` (Discord: Interactions)."""

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
    _check_channel(call, interaction)
    kind = interactions.check_callback(interaction, call.form)
    errors = FormErrors()
    data = errors.field((), call.form, "data", dict) or {}
    errors.check()
    message = _acknowledge(call, interaction, kind, data)
    interaction.changed()
    return _callback_payload(call, interaction, kind, message) if call.flag("with_response") else None


# Requests with an interaction's token as a webhook token. `webhooks` has their routes and calls these functions.


def get_message(call: ApiCall) -> Json:
    interaction, world = _get_interaction(call), call.sandbox.world
    message = interactions.own_message(world, interaction, call.path["message"])
    return payloads.message(message, world, viewer=interaction.application_id)


def edit_message(call: ApiCall) -> Json:
    interaction, world = _get_interaction(call), call.sandbox.world
    message = interactions.own_message(world, interaction, call.path["message"])
    draft = _parse_draft(call, call.form, old=message)
    call.sandbox.emit_message_update(interactions.edit(world, interaction, message, draft))
    interaction.changed()
    return payloads.message(message, world, viewer=interaction.application_id)


def delete_message(call: ApiCall) -> None:
    interaction, world = _get_interaction(call), call.sandbox.world
    message = interactions.own_message(world, interaction, call.path["message"])
    interactions.delete(world, interaction, message)
    call.sandbox.emit_message_delete(message)
    interaction.changed()


def follow_up(call: ApiCall) -> Json:
    interaction, sandbox = _get_interaction(call), call.sandbox
    message, new = interactions.follow_up(sandbox.world, interaction, _parse_draft(call, call.form))
    tell = sandbox.emit_message_create if new else sandbox.emit_message_update
    tell(message)
    interaction.changed()
    return payloads.message(message, sandbox.world)


def _get_interaction(call: ApiCall) -> Interaction:
    now_s = call.sandbox.world.clock.monotonic()
    interaction = call.sandbox.interactions.get_answered(call.path["webhook"], call.path["token"], now_s)
    _check_channel(call, interaction)
    return interaction


def _check_channel(call: ApiCall, interaction: Interaction) -> None:
    """Raises 10003 (unknown channel) when the channel has been deleted."""
    if interaction.channel_id not in call.sandbox.world.channels:
        raise unknown("Channel")


def _parse_draft(call: ApiCall, body: Json, *, old: Message | None = None) -> Draft:
    draft = drafts.parse_body(body, call.uploads, call.sandbox.world, old=old, default_mentions=mentions.USER_MENTIONS)
    call.sandbox.store_uploads(draft)
    return draft


def _parse_data(call: ApiCall, data: Json, *, old: Message | None = None) -> Draft:
    """The message in the ``data`` of a callback; error paths start with ``data``."""
    try:
        return _parse_draft(call, data, old=old)
    except ApiError as error:
        if error.errors:
            error.errors = {"data": error.errors}
        raise


def _acknowledge(call: ApiCall, interaction: Interaction, kind: int, data: Json) -> Message | None:
    """Carry out a callback of type ``kind``; returns the message that it created or edited, if any."""
    sandbox, world = call.sandbox, call.sandbox.world
    match kind:
        case interactions.REPLY:
            return sandbox.emit_message_create(interactions.reply(world, interaction, _parse_data(call, data)))
        case interactions.DEFER:
            return sandbox.emit_message_create(interactions.defer(world, interaction, _parse_flags(data)))
        case interactions.UPDATE:
            draft = _parse_data(call, data, old=interactions.source_message(world, interaction))
            return sandbox.emit_message_update(interactions.update(world, interaction, draft))
        case interactions.DEFER_UPDATE:
            interactions.defer_update(interaction)
        case interactions.CHOICES:
            interactions.offer_choices(interaction, data)
        case interactions.MODAL:
            interactions.open_modal(interaction, data)
            sandbox.modals[interaction.user_id] = interaction
    return None


def _parse_flags(data: Json) -> int:
    errors = FormErrors()
    flags = errors.field(("data",), data, "flags", int) or 0
    errors.check()
    return flags


def _callback_payload(call: ApiCall, interaction: Interaction, kind: int, message: Message | None) -> Json:
    """The response if the request has ``with_response``."""
    payload: Json = {"id": interaction.id, "type": interaction.type}
    resource: Json = {"type": kind}
    if message is not None:
        payload |= {
            "response_message_id": message.id,
            "response_message_loading": bool(message.flags & LOADING),
            "response_message_ephemeral": bool(message.flags & EPHEMERAL),
        }
        resource["message"] = payloads.message(message, call.sandbox.world)
    return {"interaction": payload, "resource": resource} if message is not None else {"interaction": payload}

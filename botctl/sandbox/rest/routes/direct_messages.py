"""Direct message channels (Discord: User resource > Create DM)."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.model import payloads
from botctl.sandbox.model.api_error import ApiError, FormErrors
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]


@route("POST", "/users/@me/channels")
def create_dm(call: ApiCall) -> Json:
    """Returns the existing DM if there is one. If the user accepts no DMs, only sending a message fails."""
    world, errors = call.sandbox.world, FormErrors()
    recipient_id = errors.snowflake((), call.form, "recipient_id")
    if call.form.get("recipient_id") is None:
        errors.add(("recipient_id",), "BASE_TYPE_REQUIRED", "This field is required")
    errors.check()
    if recipient_id is None or recipient_id not in world.users:
        raise ApiError(400, 50033, "Invalid Recipient(s)")
    if recipient_id == call.app.id:
        raise ApiError(403, 50007, "Cannot send messages to this user")
    channel = world.direct_channel(call.app.id, recipient_id)
    call.sandbox.changed()
    return payloads.direct_channel(channel, world, viewer=call.app.id)

"""Direct messages: the channel of the bot and one person (Discord: User resource > Create DM)."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.model import payloads
from botctl.sandbox.model.api_error import ApiError, FormErrors
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]


@route("POST", "/users/@me/channels")
def open_direct(call: ApiCall) -> Json:
    """The DM with ``recipient_id``; the same one each time. Whether they can be written to shows when it is tried."""
    world, errors = call.sandbox.world, FormErrors()
    wanted = errors.snowflake((), call.form, "recipient_id")
    if call.form.get("recipient_id") is None:
        errors.add(("recipient_id",), "BASE_TYPE_REQUIRED", "This field is required")
    errors.check()
    if wanted is None or wanted not in world.users:
        raise ApiError(400, 50033, "Invalid Recipient(s)")
    if wanted == call.app.id:
        raise ApiError(403, 50007, "Cannot send messages to this user")
    channel = world.direct_channel(call.app.id, wanted)
    call.sandbox.changed()
    return payloads.direct_channel(channel, world, viewer=call.app.id)

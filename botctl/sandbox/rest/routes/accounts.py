"""Users (Discord: User resource)."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.model import payloads
from botctl.sandbox.model.api_error import FormErrors, unknown
from botctl.sandbox.rest.images import parse_image
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]


@route("GET", "/users/@me", scope="identify")
def me(call: ApiCall) -> Json:
    user, grant = call.sandbox.world.users[call.user_id], call.grant
    if grant is None:
        return payloads.current_user(user)
    payload = {**payloads.user(user), "locale": user.locale, "mfa_enabled": False}
    return {**payload, "email": f"{user.name}@example.com", "verified": True} if "email" in grant.scopes else payload


@route("PATCH", "/users/@me")
def edit_me(call: ApiCall) -> Json:
    """Images are checked and not stored."""
    world, errors = call.sandbox.world, FormErrors()
    user = world.users[call.app.id]
    name = errors.text((), call.form, "username", 2, 32) if "username" in call.form else user.name
    if world.user_ids.get(name.casefold(), user.id) != user.id:
        errors.add(("username",), "USERNAME_ALREADY_TAKEN", "Username is already taken.")
    for picture in ("avatar", "banner"):
        parse_image(errors, (), call.form, picture)
    errors.check()
    if name != user.name:
        del world.user_ids[user.name.casefold()]
        user.name = name
        world.add_user(user)
        call.sandbox.emit("USER_UPDATE", payloads.current_user(user), application_id=user.id)
        call.sandbox.changed()
    return payloads.current_user(user)


@route("GET", "/users/{user}")
def get_user(call: ApiCall) -> Json:
    user = call.sandbox.world.users.get(call.path["user"])
    if user is None:
        raise unknown("User")
    return payloads.user(user)

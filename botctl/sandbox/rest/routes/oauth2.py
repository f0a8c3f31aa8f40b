"""OAuth2 tokens of applications (Discord: OAuth2). People give their consent on `oauth_page`."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import unquote_plus

from botctl.sandbox.model import payloads
from botctl.sandbox.model.api_error import unauthorized, unknown
from botctl.sandbox.model.oauth import TOKEN_S, Grant, OAuthError, parse_scopes
from botctl.sandbox.model.tokens import client_secret, is_same_secret
from botctl.sandbox.model.world import Application, discord_time
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]
# Discord: Get Current Authorization Information
_PUBLIC_FIELDS = ("id", "name", "icon", "description", "type", "bot_public", "bot_require_code_grant", "verify_key")
_FLAGS = ("flags", "flags_new")


@route("GET", "/oauth2/@me", token=False, scope="")
def authorization(call: ApiCall) -> Json:
    """The scopes and expiry of a person's token."""
    world, grant = call.sandbox.world, call.grant
    if grant is None:
        raise unauthorized()  # a bot token has no authorization by a person
    application = payloads.application(world.applications[grant.application_id], world)
    remaining_s = grant.ends_s - call.sandbox.clock.monotonic()
    payload: Json = {
        "application": {key: application[key] for key in (*_PUBLIC_FIELDS, *_FLAGS)},
        "scopes": list(grant.scopes),
        "expires": discord_time(call.sandbox.clock.now() + timedelta(seconds=remaining_s)),
    }
    return {**payload, "user": payloads.user(world.users[grant.user_id])} if "identify" in grant.scopes else payload


@route("POST", "/oauth2/token", token=False)
def token(call: ApiCall) -> Json:
    """Exchanges a code, a refresh token or the client's credentials."""
    app = _authenticate_client(call)
    make = _GRANTS.get(_form_field(call, "grant_type"))
    if make is None:
        raise OAuthError(
            "unsupported_grant_type", f"Grant type {_form_field(call, 'grant_type') or None} is not supported"
        )
    return make(call, app)


@route("POST", "/oauth2/token/revoke", token=False)
def revoke(call: ApiCall) -> Json:
    """Revokes all tokens of the authorization."""
    call.sandbox.grants.revoke(_form_field(call, "token"), _authenticate_client(call).id)
    return {}


@route("GET", "/users/@me/guilds/{guild}/member", token=False, scope="guilds.members.read")
def own_member(call: ApiCall) -> Json:
    """The person's membership in one of their guilds."""
    world, grant = call.sandbox.world, call.grant
    guild = world.guilds.get(call.path["guild"])
    member = guild.members.get(grant.user_id) if guild and grant else None
    if member is None:
        raise unknown("Guild")
    return payloads.member(member, world)


def _redeem_code(call: ApiCall, app: Application) -> Json:
    code, redirect_uri, verifier = (_form_field(call, name) for name in ("code", "redirect_uri", "code_verifier"))
    return _token_payload(
        call, *call.sandbox.grants.redeem(code, app.id, redirect_uri, verifier, call.sandbox.clock.monotonic())
    )


def _refresh(call: ApiCall, app: Application) -> Json:
    refresh = _form_field(call, "refresh_token")
    return _token_payload(call, *call.sandbox.grants.renew(refresh, app.id, call.sandbox.clock.monotonic()))


def _client_credentials(call: ApiCall, app: Application) -> Json:
    """Discord: Client Credentials Grant: a token of the application's owner, without a refresh token."""
    grant = Grant(app.id, app.owner_id, parse_scopes(_form_field(call, "scope")), 0.0)
    return _token_payload(call, *call.sandbox.grants.issue(grant, call.sandbox.clock.monotonic(), renewable=False))


_GRANTS: dict[str, Callable[[ApiCall, Application], Json]] = {
    "authorization_code": _redeem_code,
    "refresh_token": _refresh,
    "client_credentials": _client_credentials,
}


def _token_payload(call: ApiCall, token: str, grant: Grant) -> Json:
    payload: Json = {
        "token_type": "Bearer",
        "access_token": token,
        "expires_in": int(TOKEN_S),
        "scope": " ".join(grant.scopes),
    }
    if grant.refresh:
        payload["refresh_token"] = grant.refresh
    guild = call.sandbox.world.guilds.get(grant.guild_id or "")
    return {**payload, "guild": payloads.guild(guild, call.sandbox.world)} if guild else payload


def _authenticate_client(call: ApiCall) -> Application:
    """The calling application, from the body or HTTP Basic; raises OAuthError."""
    client_id, secret = _parse_basic(call.authorization) or (
        _form_field(call, "client_id"),
        _form_field(call, "client_secret"),
    )
    app = call.sandbox.world.applications.get(client_id)
    if app is None:
        raise OAuthError("invalid_client", "Unknown client.", 401)
    expected = client_secret(call.sandbox.access.control_secret, app.id)
    if not is_same_secret(secret, expected):
        raise OAuthError("invalid_client", "Invalid client secret.", 401)
    return app


def _parse_basic(authorization: str | None) -> tuple[str, str] | None:
    kind, _, credentials = (authorization or "").partition(" ")
    if kind.casefold() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:  # not ASCII, not base64, or not UTF-8
        return None
    return unquote_plus(name), unquote_plus(secret)


def _form_field(call: ApiCall, name: str) -> str:
    body = call.body if isinstance(call.body, dict) else {}
    return str(body.get(name) or "")

"""OAuth2 for applications: tokens, and what a token says of itself (Discord: OAuth2). People allow in `authorize`."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import unquote_plus

from botctl.sandbox.model import payloads
from botctl.sandbox.model.api_error import unauthorized, unknown
from botctl.sandbox.model.oauth import TOKEN_S, Grant, OAuthError, parse_scopes
from botctl.sandbox.model.tokens import client_secret
from botctl.sandbox.model.world import Application, discord_time
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]
# Of an application, what anybody may see (Discord: Get Current Authorization Information)
_PARTIAL = ("id", "name", "icon", "description", "type", "bot_public", "bot_require_code_grant", "verify_key")
_FLAGS = ("flags", "flags_new")


@route("GET", "/oauth2/@me", token=False, scope="")
def authorization(call: ApiCall) -> Json:
    """What a person's token allows, and until when."""
    world, grant = call.sandbox.world, call.grant
    if grant is None:
        raise unauthorized()  # a bot's token is no authorization of a person's
    whole = payloads.application(world.applications[grant.application_id], world)
    left_s = grant.ends_s - call.sandbox.clock.monotonic()
    shown: Json = {
        "application": {key: whole[key] for key in (*_PARTIAL, *_FLAGS)},
        "scopes": list(grant.scopes),
        "expires": discord_time(call.sandbox.clock.now() + timedelta(seconds=left_s)),
    }
    return {**shown, "user": payloads.user(world.users[grant.user_id])} if "identify" in grant.scopes else shown


@route("POST", "/oauth2/token", token=False)
def token(call: ApiCall) -> Json:
    """For a code, a refresh token, or the client's own secret."""
    app = _client(call)
    make = _GRANTS.get(_said(call, "grant_type"))
    if make is None:
        raise OAuthError("unsupported_grant_type", f"Grant type {_said(call, 'grant_type') or None} is not supported")
    return make(call, app)


@route("POST", "/oauth2/token/revoke", token=False)
def revoke(call: ApiCall) -> Json:
    """All tokens of the authorization end."""
    call.sandbox.grants.revoke(_said(call, "token"), _client(call).id)
    return {}


@route("GET", "/users/@me/guilds/{guild}/member", token=False, scope="guilds.members.read")
def my_member(call: ApiCall) -> Json:
    """The person as a member of one of their guilds."""
    world, grant = call.sandbox.world, call.grant
    guild = world.guilds.get(call.path["guild"])
    member = guild.members.get(grant.user_id) if guild and grant else None
    if member is None:
        raise unknown("Guild")
    return payloads.member(member, world)


def _by_code(call: ApiCall, app: Application) -> Json:
    code, where, verifier = (_said(call, one) for one in ("code", "redirect_uri", "code_verifier"))
    return _issued(call, *call.sandbox.grants.redeem(code, app.id, where, verifier, call.sandbox.clock.monotonic()))


def _by_refresh(call: ApiCall, app: Application) -> Json:
    refresh = _said(call, "refresh_token")
    return _issued(call, *call.sandbox.grants.renew(refresh, app.id, call.sandbox.clock.monotonic()))


def _by_client(call: ApiCall, app: Application) -> Json:
    """Discord: Client Credentials Grant: a token of the application's owner, without a way to renew it."""
    grant = Grant(app.id, app.owner_id, parse_scopes(_said(call, "scope")), 0.0)
    return _issued(call, *call.sandbox.grants.issue(grant, call.sandbox.clock.monotonic(), renewable=False))


_GRANTS: dict[str, Callable[[ApiCall, Application], Json]] = {
    "authorization_code": _by_code,
    "refresh_token": _by_refresh,
    "client_credentials": _by_client,
}


def _issued(call: ApiCall, token: str, grant: Grant) -> Json:
    shown: Json = {
        "token_type": "Bearer",
        "access_token": token,
        "expires_in": int(TOKEN_S),
        "scope": " ".join(grant.scopes),
    }
    if grant.refresh:
        shown["refresh_token"] = grant.refresh
    guild = call.sandbox.world.guilds.get(grant.guild_id or "")
    return {**shown, "guild": payloads.guild(guild, call.sandbox.world)} if guild else shown


def _client(call: ApiCall) -> Application:
    """Who calls, by the body or by HTTP Basic. Raises OAuthError."""
    client_id, secret = _basic(call.authorization) or (_said(call, "client_id"), _said(call, "client_secret"))
    app = call.sandbox.world.applications.get(client_id)
    if app is None:
        raise OAuthError("invalid_client", "Unknown client.", 401)
    known = client_secret(call.sandbox.access.control_secret, app.id)
    if not hmac.compare_digest(secret.encode(), known.encode()):
        raise OAuthError("invalid_client", "Invalid client secret.", 401)
    return app


def _basic(authorization: str | None) -> tuple[str, str] | None:
    kind, _, said = (authorization or "").partition(" ")
    if kind.casefold() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(said, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return unquote_plus(name), unquote_plus(secret)


def _said(call: ApiCall, name: str) -> str:
    """A field of the form."""
    body = call.body if isinstance(call.body, dict) else {}
    return str(body.get(name) or "")

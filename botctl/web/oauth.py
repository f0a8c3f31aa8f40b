"""The messages of OAuth2 with Discord (RFC 6749 with PKCE, RFC 7636). oauthlib makes and reads them; no I/O.

oauthlib accepts https addresses only. The sandbox is http on loopback, so messages are made for Discord's addresses,
and sent to the one in use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from oauthlib.oauth2 import OAuth2Error, WebApplicationClient

SCOPE: Final = "identify"
_VERIFIER_LENGTH: Final = 64  # characters; RFC 7636: 43 to 128
_AUTHORIZE: Final = "https://discord.com/oauth2/authorize"
_REVOKE: Final = "https://discord.com/api/oauth2/token/revoke"
_CHALLENGE_METHOD: Final = "S256"
_NO_TOKEN: Final = (OAuth2Error, Warning, ValueError, KeyError, AttributeError, TypeError)
"""What oauthlib raises for an answer without a token: a Warning for another scope, the last ones for other JSON."""


class OAuthRefused(Exception):
    """Discord, or the person, did not agree. The sentence is for the person."""


@dataclass(frozen=True, slots=True)
class OAuthApplication:
    """The bot's application at Discord."""

    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str


def new_verifier() -> str:
    """A new ``code_verifier``, which only this server and, at the end, Discord know."""
    return str(WebApplicationClient("").create_code_verifier(_VERIFIER_LENGTH))


def authorize_query(application: OAuthApplication, state: str, verifier: str) -> str:
    """The query of Discord's consent page. ``prompt=none`` is not asked for: the page shows who signs in."""
    client = WebApplicationClient(application.client_id)
    url: str = client.prepare_request_uri(
        _AUTHORIZE,
        redirect_uri=application.redirect_uri,
        scope=[SCOPE],
        state=state,
        code_challenge=client.create_code_challenge(verifier, _CHALLENGE_METHOD),
        code_challenge_method=_CHALLENGE_METHOD,
    )
    return url.partition("?")[2]


def parse_callback(application: OAuthApplication, query: Mapping[str, str], state: str) -> str:
    """The code with which Discord sent the browser back. Raises OAuthRefused."""
    client = WebApplicationClient(application.client_id)
    try:
        answer = client.parse_request_uri_response(f"{_AUTHORIZE}?{urlencode(query)}", state=state)
    except OAuth2Error as error:
        if error.error == "access_denied":
            raise OAuthRefused("You declined the sign-in at Discord.") from error
        raise OAuthRefused("Discord did not send a usable answer.") from error
    return str(answer["code"])


def token_body(application: OAuthApplication, code: str, verifier: str) -> str:
    """The form with which ``code`` is exchanged for a token."""
    client = WebApplicationClient(application.client_id)
    body: str = client.prepare_request_body(
        code=code,
        redirect_uri=application.redirect_uri,
        code_verifier=verifier,
        client_secret=application.client_secret,
    )
    return body


def parse_token(application: OAuthApplication, body: str) -> str:
    """The access token in Discord's answer. Raises OAuthRefused if there is none, or it has another scope."""
    client = WebApplicationClient(application.client_id)
    try:
        answer = client.parse_request_body_response(body, scope=[SCOPE])
        return str(answer["access_token"])
    except _NO_TOKEN as error:
        raise OAuthRefused("Discord did not accept this sign-in.") from error


def revocation_body(application: OAuthApplication, token: str) -> str:
    """The form that ends ``token`` at Discord (RFC 7009)."""
    client = WebApplicationClient(application.client_id)
    _, _, body = client.prepare_token_revocation_request(
        _REVOKE, token, client_id=application.client_id, client_secret=application.client_secret
    )
    return str(body)

"""OAuth2 grants of users to applications, in memory; ``now_s`` is monotonic (Discord: OAuth2; RFC 6749, 7636)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from botctl.sandbox.model.api_error import ApiError

SCOPES: Final = {
    "identify": "see your name and picture",
    "email": "see your e-mail address",
    "guilds": "see which servers you are in",
    "guilds.members.read": "see your nickname and roles in these servers",
    "bot": "join a server as a bot",
    "applications.commands": "add its commands to a server",
}
"""Scope to its description for the user."""

TOKEN_S: Final = 604_800.0  # until an access token expires; Discord: a week
_CODE_S: Final = 600.0  # RFC 6749, 4.1.2: the maximum
S256: Final = "S256"


class OAuthError(ApiError):
    """An error in OAuth2's own format (RFC 6749, 5.2)."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(status, 0, description)
        self.error = error

    def body(self) -> dict[str, Any]:
        return {"error": self.error, "error_description": self.message}


@dataclass(frozen=True)
class Grant:
    """What a user allows an application to do."""

    application_id: str
    user_id: str
    scopes: tuple[str, ...]
    ends_s: float  # monotonic
    refresh: str | None = None  # the refresh token
    guild_id: str | None = None  # where the bot was added


@dataclass(frozen=True)
class _Code:
    """An authorization code, valid for one `Grants.redeem`. ``challenge``: PKCE's ``code_challenge``."""

    grant: Grant
    redirect_uri: str
    challenge: str | None
    ends_s: float


class Grants:
    """The valid authorization codes and tokens."""

    def __init__(self) -> None:
        self._codes: dict[str, _Code] = {}
        self._by_token: dict[str, Grant] = {}

    def __contains__(self, secret: object) -> bool:
        return (
            secret in self._codes
            or secret in self._by_token
            or any(grant.refresh == secret for grant in self._by_token.values())
        )

    def find(self, token: str, now_s: float) -> Grant | None:
        grant = self._by_token.get(token)
        return grant if grant and grant.ends_s > now_s else None

    def create_code(self, grant: Grant, redirect_uri: str, challenge: str | None, now_s: float) -> str:
        """Create an authorization code, which the application exchanges for a token."""
        code = secrets.token_urlsafe(24)
        self._codes[code] = _Code(grant, redirect_uri, challenge, now_s + _CODE_S)
        return code

    def redeem(
        self, code: str, application_id: str, redirect_uri: str, verifier: str, now_s: float
    ) -> tuple[str, Grant]:
        """Exchange a code for an access token; the code becomes invalid. Raises OAuthError."""
        issued = self._codes.pop(code, None)
        if issued is None or issued.ends_s <= now_s or issued.grant.application_id != application_id:
            raise OAuthError("invalid_grant", 'Invalid "code" in request.')
        if issued.redirect_uri != redirect_uri:
            raise OAuthError("invalid_grant", 'Invalid "redirect_uri" in request.')
        if issued.challenge is not None and not hmac.compare_digest(s256_challenge(verifier), issued.challenge):
            raise OAuthError("invalid_grant", 'Invalid "code_verifier" in request.')
        return self.issue(issued.grant, now_s)

    def issue(self, grant: Grant, now_s: float, *, renewable: bool = True) -> tuple[str, Grant]:
        """Create an access token for ``grant``; with ``renewable`` also a refresh token."""
        token = secrets.token_urlsafe(24)
        refresh = secrets.token_urlsafe(24) if renewable else None
        self._by_token[token] = renewed = replace(grant, ends_s=now_s + TOKEN_S, refresh=refresh)
        return token, renewed

    def renew(self, refresh: str, application_id: str, now_s: float) -> tuple[str, Grant]:
        """Replace the access token that came with ``refresh``. Raises OAuthError."""
        for token, grant in self._by_token.items():
            if grant.refresh == refresh and grant.application_id == application_id:
                del self._by_token[token]
                return self.issue(grant, now_s)
        raise OAuthError("invalid_grant", 'Invalid "refresh_token" in request.')

    def revoke(self, token: str, application_id: str) -> None:
        """Revoke all tokens of the same authorization, as Discord does. An unknown token is no error (RFC 7009)."""
        ended = {
            (grant.application_id, grant.user_id)
            for key, grant in self._by_token.items()
            if token in (key, grant.refresh) and grant.application_id == application_id
        }
        self._by_token = {
            key: grant for key, grant in self._by_token.items() if (grant.application_id, grant.user_id) not in ended
        }


def parse_scopes(text: str) -> tuple[str, ...]:
    """The scopes in ``text``, separated by spaces. Raises OAuthError for none or an unknown one."""
    wanted = tuple(dict.fromkeys(text.split()))
    wrong = _first_or_none(scope for scope in wanted if scope not in SCOPES)
    if not wanted or wrong:
        raise OAuthError("invalid_scope", f"The requested scope is invalid, unknown, or malformed: {wrong or 'none'}.")
    return wanted


def s256_challenge(verifier: str) -> str:
    """PKCE's ``code_challenge`` for ``verifier`` (RFC 7636, 4.6)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _first_or_none(words: Iterable[str]) -> str | None:
    return next(iter(words), None)

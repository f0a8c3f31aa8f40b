"""Tokens and secrets of applications. The format is Discord's: some libraries read the application id from a token.

``secret``: the sandbox's own, the key of its control API. The rest is computed from it, so a restart changes nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final

DEFAULT_BOT: Final = "900000000000000010"  # the application of `default_world`
_TIMESTAMP_CHARS, _HMAC_CHARS = 6, 38  # of a token's second and third part


def bot_token(secret: str, application_id: str = DEFAULT_BOT) -> str:
    """``<application id>.<timestamp>.<hmac>``; the first part is base64."""
    text = _derive(secret, f"bot token {application_id}")
    timestamp, proof = text[:_TIMESTAMP_CHARS], text[_TIMESTAMP_CHARS : _TIMESTAMP_CHARS + _HMAC_CHARS]
    return f"{_base64(application_id.encode())}.{timestamp}.{proof}"


def new_bot_token(application_id: str) -> str:
    """A random token, which replaces the computed one."""
    return bot_token(secrets.token_urlsafe(32), application_id)


def client_secret(secret: str, application_id: str) -> str:
    return _derive(secret, f"client secret {application_id}")[:32]


def is_same_secret(given: str, secret: str) -> bool:
    """Compare in constant time. ``given`` may be any text, also bytes of a header that are no UTF-8 (surrogates)."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), secret.encode())


def _derive(secret: str, purpose: str) -> str:
    return _base64(hmac.digest(secret.encode(), purpose.encode(), hashlib.sha512))


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")

"""Why a client ends, in words."""

from __future__ import annotations

from typing import Final

from websockets.exceptions import InvalidURI
from websockets.uri import parse_uri

from botctl.client.outcomes import ConnectionEnded

_BAD_KEY: Final = 4501
_KEY_ENDED: Final = 4507


def require_address(url: str) -> None:
    """Raises ConnectionEnded if ``url`` cannot be that of a server."""
    try:
        parse_uri(url)
    except (InvalidURI, ValueError) as error:
        reason = error.msg if isinstance(error, InvalidURI) else str(error)
        sentence = (
            f"{url!r} is not the address of a realtime server: {reason}. One is like ws://127.0.0.1:8750/realtime"
        )
        raise ConnectionEnded(sentence) from None


def end_sentence(code: int, reason: str) -> str:
    """What the server's close ``code`` and ``reason`` mean for a client with a key."""
    if code == _BAD_KEY:
        subject, _, rest = reason.partition(" ")
        return f"the key {rest}" if subject == "it" else f"the key is refused: {reason}"
    if code == _KEY_ENDED:
        return "the key has ended: it was revoked or replaced, or has expired"
    return reason or "the server ended the connection"

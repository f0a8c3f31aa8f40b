"""The text of an API key: ``botctl_<id>_<secret><checksum>``. Pure functions: no I/O.

The id names the key in lists and logs. The secret has 256 bits, so one SHA-256 of the text is safe to store. The
checksum of six characters shows without a database query that a key is incomplete or mistyped.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from typing import Final, NamedTuple

PREFIX: Final = "botctl"
_ID_LENGTH: Final = 12
_SECRET_LENGTH: Final = 43  # letters and digits: 256 bits
_CHECKSUM_LENGTH: Final = 6  # letters and digits: 32 bits of a CRC
_ID_ALPHABET: Final = "23456789abcdefghjkmnpqrstuvwxyz"
_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_FORM: Final = re.compile(
    rf"(?P<body>{PREFIX}_(?P<id>[{_ID_ALPHABET}]{{{_ID_LENGTH}}})_[0-9A-Za-z]{{{_SECRET_LENGTH}}})"
    rf"(?P<checksum>[0-9A-Za-z]{{{_CHECKSUM_LENGTH}}})"
)


class KeyText(NamedTuple):
    """A new key: its id, its text and the `digest` to store."""

    id: str
    text: str
    digest: bytes


def mint() -> KeyText:
    """Generate a new key."""
    key_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))
    body = f"{PREFIX}_{key_id}_" + "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    text = body + _checksum(body)
    return KeyText(key_id, text, digest(text))


def parse_id(text: str) -> str:
    """The id in the text of a key. Raises ValueError if this is not the whole text of a key."""
    match = _FORM.fullmatch(text)
    if match is None or _checksum(match["body"]) != match["checksum"]:
        raise ValueError("this is not the whole text of a key")
    return match["id"]


def digest(text: str) -> bytes:
    """The hash of a key that is stored: 32 bytes."""
    return hashlib.sha256(text.encode()).digest()


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)

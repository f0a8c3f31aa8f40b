"""The documents of API keys. Pure functions: no I/O.

Collection ``botctl_api_keys``: ``{_id, name, digest, permissions, guild, created_by, created_ms, expires_ms,
revoked_ms, replaces, replaced_by, used_ms, used_from, uses, mac}``, times in milliseconds since 1970; without
``used_ms`` it was never used. Of the key's text
only `key_format.digest` is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from bson.binary import Binary

from botctl.auth.signing import Signer
from botctl.core.clock import from_unix_ms, unix_ms
from botctl.core.contracts.api_keys import ApiKey
from botctl.core.contracts.malformed import value_of

COLLECTION: Final = "botctl_api_keys"
_TEXT_OR_NONE: Final = (str, type(None))


def key_document(key: ApiKey, key_digest: bytes, signer: Signer) -> dict[str, Any]:
    """The signed document of ``key``, which is new. Raises ConfigError if ``signer`` has no secret."""
    return signer.sign(
        COLLECTION,
        {
            "_id": key.id,
            "name": key.name,
            "digest": Binary(key_digest),
            "permissions": list(key.permissions),
            "guild": key.guild,
            "created_by": key.created_by,
            "created_ms": unix_ms(key.created_at),
            "expires_ms": key.expires_at and unix_ms(key.expires_at),
            "revoked_ms": None,
            "replaces": key.replaces,
            "replaced_by": None,
            "used_from": [],
            "uses": 0,
        },
    )


def parse_key(document: Mapping[str, Any], signer: Signer) -> ApiKey:
    """The key in ``document``. Raises one of `FAULTS` if it is malformed, or not signed by this bot."""
    signer.require_signature(COLLECTION, document)
    return ApiKey(
        id=value_of(document, "_id", str),
        name=value_of(document, "name", str),
        permissions=tuple(map(str, value_of(document, "permissions", list))),
        guild=value_of(document, "guild", *_TEXT_OR_NONE),
        created_at=from_unix_ms(value_of(document, "created_ms", int)),
        created_by=value_of(document, "created_by", str),
        expires_at=_datetime(document, "expires_ms"),
        revoked_at=_datetime(document, "revoked_ms"),
        replaces=value_of(document, "replaces", *_TEXT_OR_NONE),
        replaced_by=value_of(document, "replaced_by", *_TEXT_OR_NONE),
        used_at=_datetime(document, "used_ms") if "used_ms" in document else None,
        used_from=tuple(map(str, value_of(document, "used_from", list))),
        uses=value_of(document, "uses", int),
    )


def digest_of(document: Mapping[str, Any]) -> bytes:
    """The digest of the key's text; that of no key if it is missing."""
    value = document.get("digest")
    return bytes(value) if isinstance(value, bytes) else b""


def _datetime(document: Mapping[str, Any], name: str) -> datetime | None:
    ms = value_of(document, name, int, type(None))
    return None if ms is None else from_unix_ms(ms)

"""Sign the documents that give access, so that write access to the database alone gives no other access.

A document of a key or a grant carries ``mac``: HMAC-SHA256 over the bot, its collection and its fields, but for those
that count uses. The secret is the setting ``auth.secret``; with the embedded document store it is a file of the state
folder. What ``auth.previous_secret`` has signed counts too (`signatures` replaces it). What this does not prevent:
putting back an old document that was signed once.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from botctl.core.config.settings import Settings
from botctl.core.errors import BotctlError, ConfigError
from botctl.core.processes.runtime import Runtime
from botctl.core.redact import register

FIELD: Final = "mac"
UNSIGNED_FIELDS: Final = frozenset({FIELD, "used_ms", "used_from", "uses"})
"""Fields that change with every use of a key."""
SECRET_FILE: Final = "auth-secret"  # noqa: S105  a name
_SECRET_BYTES: Final = 32
_log = logging.getLogger(__name__)


class NotSigned(ValueError):
    """A document that this bot has not signed. The sentence says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs for ``bot``. ``secret``: None if a real MongoDB is used and ``auth.secret`` is not set.

    ``previous``: the secret before that, which only verifies.
    """

    secret: bytes | None
    bot: str = ""
    previous: bytes | None = None

    def sign(self, collection: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """The ``document`` with its signature. Raises ConfigError if there is no secret."""
        if self.secret is None:
            raise ConfigError(
                "auth.secret is not set, so keys and grants cannot be signed.",
                hint="Put BOTCTL_AUTH__SECRET into .env of every process of the bot. This makes one: "
                '`python -c "import secrets; print(secrets.token_urlsafe(48))"`.',
            )
        return {**document, FIELD: self._mac(self.secret, collection, document)}

    def require_signature(self, collection: str, document: Mapping[str, Any]) -> None:
        """Raise NotSigned unless this bot has signed ``document`` as it is."""
        if self.secret is None:
            raise NotSigned("it cannot be verified: auth.secret is not set")
        signature = document.get(FIELD)
        if not (isinstance(signature, str) and signature.isascii()):
            raise NotSigned("it is not signed by this bot")
        if not any(self._has_signed(secret, collection, document) for secret in (self.secret, self.previous)):
            raise NotSigned("its signature is wrong: it was changed, or signed with another auth.secret")

    def is_current(self, collection: str, document: Mapping[str, Any]) -> bool:
        """Whether ``document``, which is signed, is signed with ``secret`` and not with ``previous``."""
        return self._has_signed(self.secret, collection, document)

    def _has_signed(self, secret: bytes | None, collection: str, document: Mapping[str, Any]) -> bool:
        if secret is None:
            return False
        return hmac.compare_digest(self._mac(secret, collection, document), str(document.get(FIELD)))

    def _mac(self, secret: bytes, collection: str, document: Mapping[str, Any]) -> str:
        signed = {name: value for name, value in document.items() if name not in UNSIGNED_FIELDS}
        text = json.dumps([self.bot, collection, signed], sort_keys=True, separators=(",", ":"), default=_encode_bytes)
        return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def load_signer(settings: Settings, state_folder: Path) -> Signer:
    """The signer of this bot. Creates the file of the embedded store's secret if it is missing.

    Raises BotctlError if the file cannot be read or written.
    """
    previous = settings.auth.previous_secret
    old = None if previous is None else previous.get_secret_value().encode()
    if settings.auth.secret is not None:
        return Signer(settings.auth.secret.get_secret_value().encode(), settings.bot, old)
    if settings.mongo.url is not None:
        return Signer(None)
    text = _read_or_create(state_folder / SECRET_FILE)
    register(text)
    return Signer(text.encode(), settings.bot, old)


@asynccontextmanager
async def document_signer(*, settings: Settings, runtime: Runtime) -> AsyncIterator[Signer]:
    signer = load_signer(settings, runtime.folder)
    if signer.secret is None and runtime.long_lived:
        _log.warning("auth.secret is not set: API keys are refused, and granted roles do not count")
    yield signer


def _read_or_create(path: Path) -> str:
    try:
        if not path.exists():
            _create(path)
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BotctlError(
            f"{path}, which signs keys and grants, cannot be used: {error}.", hint="It must belong to you, mode 0600."
        ) from error
    if len(text) < _SECRET_BYTES:
        raise ConfigError(
            f"{path}, which signs keys and grants, is damaged.",
            hint="Restore it from a backup; or delete it, and create all keys and grants again.",
        )
    return text


def _create(path: Path) -> None:
    """Create the secret at once and whole, also if two processes do it at the same time: the first one wins."""
    descriptor, draft = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(_SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())  # a key must not outlive the secret that signed it
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        Path(draft).unlink(missing_ok=True)


def _encode_bytes(value: object) -> object:
    """JSON for what JSON lacks. Raises TypeError for anything that botctl does not write."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    raise TypeError(f"a field is a {type(value).__name__}")

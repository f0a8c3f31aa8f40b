"""TLS errors of a driver that no retry cures."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from typing import Final

_WRONG_REASONS: Final = (
    "CERTIFICATE_VERIFY_FAILED",
    "WRONG_VERSION_NUMBER",  # no TLS at that port
    "RECORD_LAYER_FAILURE",  # the same, of OpenSSL 3.2
    "UNSUPPORTED_PROTOCOL",
    "NO_PROTOCOLS_AVAILABLE",
    "ALERT_PROTOCOL_VERSION",
    "HANDSHAKE_FAILURE",  # no common cipher
    "CERTIFICATE_REQUIRED",
    "UNKNOWN_CA",  # the server does not trust ours
    "BAD_CERTIFICATE",
)
_REASON: Final = re.compile(rf"\[SSL: \w*({'|'.join(_WRONG_REASONS)})")  # a driver may hand on the text only


def is_wrong_tls(error: BaseException) -> bool:
    """Whether the two sides can never agree: a certificate is not trusted, or one side does not speak TLS.

    A connection that was cut during the handshake is not one of these.
    """
    return any(isinstance(cause, ssl.SSLCertVerificationError) or _REASON.search(str(cause)) for cause in causes(error))


def causes(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what caused it, newest first."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__

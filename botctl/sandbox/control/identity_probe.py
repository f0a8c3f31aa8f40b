"""Check that the server on a port is a sandbox with the right secret, without sending the secret."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from typing import Final

from botctl.core.listening import in_url

PATH: Final = "/_control/hello"


def compute_proof(secret: str, nonce: str) -> str:
    """The response to ``nonce``, which only a sandbox with ``secret`` can compute."""
    return hmac.digest(secret.encode(), b"hello\0" + nonce.encode(), "sha256").hex()


async def is_sandbox(host: str, port: int, secret: str) -> bool:
    """Whether a sandbox with ``secret`` listens on this port. Raises OSError when nothing listens."""
    nonce = secrets.token_hex(16)
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {PATH}?nonce={nonce} HTTP/1.0\r\nHost: {in_url(host)}\r\n\r\n".encode())
        await reader.readuntil(compute_proof(secret, nonce).encode())
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return False
    else:
        return True
    finally:
        writer.close()

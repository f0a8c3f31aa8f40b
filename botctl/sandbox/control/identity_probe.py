"""How a sandbox is told from whoever else may listen on its port, without showing the secret to either."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from typing import Final

PATH: Final = "/_control/hello"


def proof(secret: str, nonce: str) -> str:
    """What only a sandbox with ``secret`` can answer to ``nonce``."""
    return hmac.digest(secret.encode(), b"hello\0" + nonce.encode(), "sha256").hex()


async def knows(host: str, port: int, secret: str) -> bool:
    """Whether a sandbox with ``secret`` answers there.

    Raises:
        OSError: nobody listens.
    """
    nonce = secrets.token_hex(16)
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {PATH}?nonce={nonce} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        await reader.readuntil(proof(secret, nonce).encode())
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return False
    else:
        return True
    finally:
        writer.close()

"""Values that can be taken once, in Redis: the state of a sign-in, one-time links, tickets for the realtime server.

One key for each, ``botctl:{<bot>}:once:<kind>:<sha256 of the token>``, which expires. A value is signed together with
its key, so that write access to Redis alone opens nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis

from botctl.auth.signing import NotSigned, Signer
from botctl.core.config.settings import Settings
from botctl.core.contracts.sessions import OneTimeTokens
from botctl.core.driver_errors.redis import reaching_redis

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_BYTES: Final = 32
_SIGNED_AS: Final = "once"
_reaching: Final = reaching_redis("Sign-in cannot be used now: Redis failed ({error}).")


def new_token() -> str:
    """256 random bits as text."""
    return secrets.token_urlsafe(_BYTES)


def is_token(text: str) -> bool:
    """Whether ``text`` has the form of a `new_token`."""
    return _TOKEN.fullmatch(text) is not None


def token_digest(token: str) -> str:
    """The hash of a token, which Redis has."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class RedisOneTimeTokens:
    """`OneTimeTokens` of ``bot``."""

    redis: Redis
    bot: str
    signer: Signer

    async def put(self, kind: str, value: Mapping[str, Any], lifetime_s: float) -> str:
        token = new_token()
        key = self._key(kind, token)
        data = json.dumps(self.signer.sign(_SIGNED_AS, {"key": key, "value": value}), separators=(",", ":"))
        with _reaching:
            await self.redis.set(key, data, px=round(lifetime_s * 1000))
        return token

    async def peek(self, kind: str, token: str) -> Mapping[str, Any] | None:
        return await self._read(kind, token, keep=True)

    async def take(self, kind: str, token: str) -> Mapping[str, Any] | None:
        return await self._read(kind, token, keep=False)

    async def drop(self, kind: str) -> int:
        pattern = f"botctl:{{{self.bot}}}:once:{kind}:*"
        with _reaching:
            keys = [key async for key in self.redis.scan_iter(match=pattern, count=1_000)]
            return int(await self.redis.delete(*keys)) if keys else 0

    async def _read(self, kind: str, token: str, *, keep: bool) -> Mapping[str, Any] | None:
        if not is_token(token):
            return None
        key = self._key(kind, token)
        with _reaching:
            data = await (self.redis.get(key) if keep else self.redis.getdel(key))
        try:
            document = json.loads(data or b"null")
            self.signer.require_signature(_SIGNED_AS, document or {})
        except (ValueError, NotSigned):
            return None
        value: Mapping[str, Any] = document["value"]
        return value if document["key"] == key else None

    def _key(self, kind: str, token: str) -> str:
        return f"botctl:{{{self.bot}}}:once:{kind}:{token_digest(token)}"


@asynccontextmanager
async def one_time_tokens(*, redis: Redis, settings: Settings, signer: Signer) -> AsyncIterator[OneTimeTokens]:
    """Factory of the service."""
    yield RedisOneTimeTokens(redis, settings.bot, signer)

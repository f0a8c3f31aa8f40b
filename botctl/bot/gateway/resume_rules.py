"""May a stored session of a shard be resumed? Decisions only; `stored_sessions` keeps the sessions.

Discord does not say for how long a session waits ("a few minutes"). So a session is tried unless something here speaks
against it, and when Discord refuses it, the shard logs in.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

CACHE_VERSION: Final = 1
"""Raise it when what is stored, or how it is restored, changes."""
MAX_AGE_S: Final = 3600.0
"""Since the last sign of life. Longer than any session of Discord is known to have waited."""
PRESENCES: Final = "presences"  # an intent
NOTHING_STORED: Final = "no session is stored"
DAMAGED: Final = "its stored session cannot be read"
UNWANTED: Final = "discord.resume is false"
_PURPOSE: Final = b"botctl: token of a gateway session, version 1"
_SEALING: Final = b"botctl: seal of gateway sessions, version 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOrigin:
    """What a session was made with. ``token``: as `token_mark`; ``intents``: as in the settings, sorted."""

    token: str
    intents: tuple[str, ...]
    shards: int
    library: str
    version: int = CACHE_VERSION


def origin_of(token: str, base_url: str | None, intents: Iterable[str], shards: int) -> SessionOrigin:
    """What a session would be made with now."""
    return SessionOrigin(
        token=token_mark(token, base_url),
        intents=tuple(sorted(set(intents))),
        shards=shards,
        library=f"disnake {version('disnake')}",
    )


def token_mark(token: str, base_url: str | None) -> str:
    """32 hex digits that tell tokens apart, and tell no token. Each sandbox is its own Discord."""
    return hmac.digest(_PURPOSE, f"{token}\n{base_url or ''}".encode(), "sha256").hex()[:32]


def sealing_key(token: str) -> bytes:
    """The key with which the copies of sessions are sealed."""
    return hmac.digest(token.encode(), _SEALING, "sha256")


def refusal(stored: SessionOrigin, now: SessionOrigin, age_s: float) -> str:
    """Why a session that was made with ``stored`` cannot be resumed; empty if it can.

    ``now``: what a new one would be made with. ``age_s``: seconds since the bot last was connected.
    """
    intents = (", ".join(origin.intents) or "empty" for origin in (stored, now))
    reasons = (
        (stored.version != now.version, "another version of botctl stored its session"),
        (stored.token != now.token, "its session belongs to another token"),
        (stored.shards != now.shards, f"the number of shards was {stored.shards}, and is {now.shards}"),
        (stored.intents != now.intents, "discord.intents was {}, and is {}".format(*intents)),
        (stored.library != now.library, f"the library was {stored.library}, and is {now.library}"),
        (PRESENCES in now.intents, f"only a login tells who is online, for the intent {PRESENCES}"),
        (age_s > MAX_AGE_S, f"its session is older than {MAX_AGE_S / 3600:.0f} h"),
    )
    return next((reason for applies, reason in reasons if applies), "")

"""The client of botctl without its stores, for bench/sharded_bot.py. Its sessions are in files, as in use."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from botctl.bot.client import Bot
from botctl.bot.gateway.session_mirror import SessionMirror
from botctl.bot.gateway.stored_sessions import StoredSessions
from botctl.bot.interactions.pipeline import Pipeline
from botctl.core.clock import SystemClock
from botctl.core.config.settings import DiscordSettings, Settings
from botctl.core.contracts.logins import OpenGate
from botctl.core.services.registry import Services


class NoMirror(SessionMirror):
    """There is no Redis, and no copy of the sessions in it."""

    async def read(self, shard: int) -> bytes | None:  # noqa: ARG002
        return None


def make_bot(shards: int, folder: Path, **options: Any) -> Bot:
    """A bot that can log in. A command would fail: nothing is there to decide about it.

    ``folder``: for its sessions.
    """
    sessions = StoredSessions(folder, Settings(), None, SystemClock(), NoMirror(cast(Any, None)))
    parts: dict[str, Any] = dict.fromkeys(("limiter", "auditor", "guilds", "access"))
    pipeline = Pipeline(publish=lambda _: None, clock=SystemClock(), **parts)
    return Bot(
        services=Services({}),
        publish=lambda _: None,
        settings=DiscordSettings(shards=str(shards)),
        pipeline=pipeline,
        logins=OpenGate(),
        sessions=sessions,
        **options,
    )

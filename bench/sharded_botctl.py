"""The client of botctl without its stores, for bench/sharded_bot.py."""

from __future__ import annotations

from typing import Any

from botctl.bot.client import Bot
from botctl.bot.pipeline import Pipeline
from botctl.core.clock import SystemClock
from botctl.core.config.settings import DiscordSettings
from botctl.core.contracts.logins import OpenGate
from botctl.core.services.registry import Services


def make_bot(shards: int, **options: Any) -> Bot:
    """A bot that can log in. A command would fail: nothing is there to decide about it."""
    parts: dict[str, Any] = dict.fromkeys(("limiter", "auditor", "guilds", "access"))
    pipeline = Pipeline(publish=lambda _: None, clock=SystemClock(), **parts)
    return Bot(
        services=Services({}),
        publish=lambda _: None,
        settings=DiscordSettings(shards=str(shards)),
        pipeline=pipeline,
        logins=OpenGate(),
        **options,
    )

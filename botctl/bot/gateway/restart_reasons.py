"""Why a shard would log in after a restart now: what `StoredSessions` would say, from the heads of its files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from botctl.bot.gateway.resume_rules import DAMAGED, NOTHING_STORED, UNWANTED, SessionOrigin, origin_of, refusal
from botctl.bot.gateway.session_file import DamagedFile, read_head, session_path
from botctl.core.clock import Clock, unix_ms
from botctl.core.config.settings import Settings
from botctl.core.contracts.discord_access import DiscordAccess


def why_login(
    folder: Path, settings: Settings, access: DiscordAccess, shards: Iterable[int], clock: Clock
) -> dict[int, str]:
    """Why each of ``shards`` (all that there are) would log in after a restart now; an empty text for a RESUME."""
    numbers = tuple(shards)
    origin = origin_of(access.token, access.base_url, map(str, settings.discord.intents), len(numbers))
    return {shard: _why_login(session_path(folder, shard), settings, origin, clock) for shard in numbers}


def _why_login(path: Path, settings: Settings, origin: SessionOrigin, clock: Clock) -> str:
    if not settings.discord.resume:
        return UNWANTED
    try:
        head = read_head(path)
    except FileNotFoundError:
        return NOTHING_STORED
    except (OSError, DamagedFile):
        return DAMAGED
    return refusal(head.origin, origin, (unix_ms(clock.now()) - head.seen_ms) / 1000)

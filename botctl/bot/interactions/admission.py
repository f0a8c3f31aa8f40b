"""Whether an invocation may run: the guild's settings, access by roles and switches, and limits.

The stores may be slow or down, and a command must not wait for them. Then access is decided by the settings that are
remembered, and limits are not checked.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from botctl.bot.commands.policy import CommandPolicy
from botctl.bot.interactions.decisions import Throttled, check_access
from botctl.core.clock import Clock
from botctl.core.contracts.access import AccessControl
from botctl.core.contracts.guild_settings import DEFAULTS, GuildSettings
from botctl.core.contracts.invocation import Invocation
from botctl.core.contracts.protocols import GuildSettingsStore, Limiter

ADMISSION_TIMEOUT_S: Final = 1.0
"""How long stores may delay a command; Discord waits 3 s."""
MAX_REMEMBERED_GUILDS: Final = 10_000
"""Changed settings of this many guilds are kept for the time when no store answers, the last used ones."""
_LOG_INTERVAL_S: Final = 60.0
_log = logging.getLogger(__name__)


class CommandAdmission:
    """Admits invocations. Failures of the stores are counted and logged, and stop no command."""

    def __init__(self, limiter: Limiter, guilds: GuildSettingsStore, access: AccessControl, clock: Clock) -> None:
        self.limiter_failures = FailureCounter("the rate limit could not be checked, so the command runs without it")
        self.settings_failures = FailureCounter(
            "guild settings could not be read, so the last known ones or the defaults are used"
        )
        self._limiter = limiter
        self._guilds = guilds
        self.access = access
        self._clock = clock
        self._remembered: dict[str, GuildSettings] = {}

    async def admit(self, invocation: Invocation, policy: CommandPolicy) -> None:
        """Check access to ``policy``, then its limits. Raises Denied or Throttled."""
        settings: GuildSettings | None = None
        try:
            async with asyncio.timeout(ADMISSION_TIMEOUT_S):
                settings = await self.load_settings(invocation.guild)
                self._authorise(invocation, policy, settings)
                await self._check_limits(invocation, policy)
        except TimeoutError as error:  # from this block; timeouts of the stores are caught inside
            if settings is None:
                self.settings_failures.record(error, self._clock.monotonic())
                self._authorise(invocation, policy, self._remembered_settings(invocation.guild))
            else:
                self.limiter_failures.record(error, self._clock.monotonic())

    async def load_settings(self, guild: str | None) -> GuildSettings:
        """Return the guild's settings; the remembered ones if the store fails."""
        if guild is None:
            return DEFAULTS
        try:
            settings = await self._guilds.get(guild)
        except Exception as error:  # noqa: BLE001  a store that is down must not stop the bot
            self.settings_failures.record(error, self._clock.monotonic())
            return self._remembered_settings(guild)
        self._remember_settings(guild, settings)
        return settings

    def _remember_settings(self, guild: str, settings: GuildSettings) -> None:
        """Keep changed settings: without Redis the store has no cache, and disabled commands must stay disabled."""
        self._remembered.pop(guild, None)
        if settings != DEFAULTS:
            self._remembered[guild] = settings
            if len(self._remembered) > MAX_REMEMBERED_GUILDS:
                del self._remembered[next(iter(self._remembered))]

    def _remembered_settings(self, guild: str | None) -> GuildSettings:
        return self._remembered.get(guild or "", DEFAULTS)

    async def _check_limits(self, invocation: Invocation, policy: CommandPolicy) -> None:
        if not policy.limits:
            return
        try:
            verdict = await self._limiter.check(invocation, policy.limits)
        except Exception as error:  # noqa: BLE001  a store that is down must not stop the bot
            self.limiter_failures.record(error, self._clock.monotonic())
            return
        if not verdict.allowed:
            raise Throttled(verdict)

    def _authorise(self, invocation: Invocation, policy: CommandPolicy, settings: GuildSettings) -> None:
        """Raise Denied if the user has no access. It needs no store, so an outage cannot let anyone in."""
        if settings.locale:
            invocation.locale = settings.locale
        denied = check_access(invocation, policy, settings, self.access)
        if denied:
            raise denied


@dataclass(slots=True)
class FailureCounter:
    """Counts failures of a store, and logs ``message`` with one of them at most every `_LOG_INTERVAL_S`."""

    message: str
    count: int = 0
    _logged_at: float = float("-inf")

    def record(self, error: Exception, now: float) -> None:
        """Count a failure at ``now`` (seconds, monotonic)."""
        self.count += 1
        if now - self._logged_at >= _LOG_INTERVAL_S:
            self._logged_at = now
            _log.warning("%s (so far: %d): %s: %s", self.message, self.count, type(error).__name__, error)

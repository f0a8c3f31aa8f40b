"""The protocols through which features use each other, so that no feature imports another.

The registry of services (`botctl.core.services`) finds a service by its protocol: a factory that needs the limiter has
a parameter ``limiter: Limiter``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from botctl.core.contracts.audit_entry import AuditEntry, Principal
from botctl.core.contracts.guild_settings import GuildSettings
from botctl.core.contracts.invocation import Invocation
from botctl.core.contracts.service_state import ServiceHealth, ServiceStatus
from botctl.core.contracts.throttle import Limit, Scope, Verdict


class Limiter(Protocol):
    async def check(self, invocation: Invocation, limits: Sequence[Limit]) -> Verdict:
        """Count ``invocation`` against all of ``limits``, or against none when one is used up.

        Raises:
            Exception: the limiter cannot decide. Then the pipeline (`bot.interactions.pipeline`) allows the invocation.
        """
        ...

    async def check_subjects(self, policy: str, subjects: Mapping[Scope, str], limits: Sequence[Limit]) -> Verdict:
        """As `check`, without an invocation. ``policy``: the name under which the call is counted.

        ``subjects``: who calls, by scope: ``{Scope.ADDRESS: address_subject(ip), Scope.KEY: key_id}``. A limit whose
        scope is missing is not counted.
        """
        ...

    def declare(self, owner: str, policies: Mapping[str, Sequence[Limit]]) -> None:
        """Tell `botctl ratelimit` all limits of ``owner`` (a part of botctl), by policy name. Never waits."""
        ...


class LimitControl(Protocol):
    async def reset(self, subject: str, policy: str | None, *, actor: Principal, reason: str) -> Sequence[str]:
        """Make all calls of ``policy`` (of all without it) available to ``subject`` (``user:1234``) again; audit it.

        Returns the policy of each limit that was reset.

        Raises:
            UsageError: nothing can be counted for ``subject``.
            NotFound: there is no such policy.
            Unreachable: Redis does not answer.
        """
        ...


class Auditor(Protocol):
    def record(self, entry: AuditEntry) -> None:
        """Queue ``entry``. Never waits and never raises."""
        ...


class GuildSettingsStore(Protocol):
    async def get(self, guild: str) -> GuildSettings:
        """The settings of ``guild``, or the defaults.

        Called for every command, so the answer should nearly always come from memory.

        Raises:
            Exception: neither the cache nor the store answers. The pipeline uses the last known settings, or the
            defaults.
        """
        ...

    async def update(self, guild: str, changes: Mapping[str, Any], *, actor: str, reason: str = "") -> GuildSettings:
        """Change settings of ``guild``; None resets to the default. Returns the new settings.

        ``actor``: the user's Discord id, or ``cli``. ``reason``: for the audit log. Publishes
        GuildSettingsChanged in every process.

        Raises:
            UsageError: there is no such setting, or the value is not valid.
            Unreachable: the store does not answer. The sentence says whether the change may have been made.
        """
        ...

    async def change(
        self, guild: str, changes: Mapping[str, Any], *, actor: Principal, iface: str = "api", reason: str = ""
    ) -> tuple[GuildSettings, bool]:
        """As `update`, for any actor. Also returns whether something changed; only then it is audited.

        ``iface``: where it was done, as in `Via`.
        """
        ...


class StatusSource(Protocol):
    """The states of the services of this process. Implemented by `RunningServices`."""

    def statuses(self) -> Sequence[ServiceStatus]: ...

    async def health(self, timeout_s: float = 2.0) -> Sequence[ServiceHealth]:
        """Ping every service concurrently, each for at most ``timeout_s``."""
        ...

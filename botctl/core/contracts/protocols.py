"""What features ask of each other. They meet here, so that none imports another.

Each is also the key under which the registry knows the service: a factory that needs one says ``limiter: Limiter``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from botctl.core.contracts.audit_entry import AuditEntry
from botctl.core.contracts.guild_settings import GuildSettings
from botctl.core.contracts.invocation import Invocation
from botctl.core.contracts.service_state import ServiceHealth, ServiceStatus
from botctl.core.contracts.throttle import Limit, Scope, Verdict


class Limiter(Protocol):
    """Decides whether an invocation is within its limits."""

    async def check(self, invocation: Invocation, limits: Sequence[Limit]) -> Verdict:
        """Count ``invocation`` against all of ``limits``, or none of them when one is used up.

        Raises:
            Exception: the store does not answer and there is no local policy; the pipeline then lets it pass.
        """
        ...

    async def check_subjects(self, policy: str, subjects: Mapping[Scope, str], limits: Sequence[Limit]) -> Verdict:
        """The same for what is no invocation: count one use of ``policy`` by ``subjects``.

        ``subjects`` says who it is, by scope: ``{Scope.ADDRESS: address_subject(ip), Scope.KEY: key_id}``. A limit
        whose scope has no subject there is not counted. Raises as `check`.
        """
        ...

    def declare(self, owner: str, policies: Mapping[str, Sequence[Limit]]) -> None:
        """Tell operators that ``owner`` (a part of botctl) has ``policies``, and no others. Never waits."""
        ...


class Auditor(Protocol):
    """Keeps the record of who did what."""

    def record(self, entry: AuditEntry) -> None:
        """Queue ``entry``. Never waits and never raises: a command does not suffer from its record."""
        ...


class GuildSettingsStore(Protocol):
    """The settings of each guild, and the way to change them."""

    async def get(self, guild: str) -> GuildSettings:
        """The settings of ``guild``; the defaults where nothing was ever set.

        On the path of every command, so an answer from memory is expected nearly always.

        Raises:
            Exception: neither the cache nor the store answers; the pipeline uses what it last saw, or the defaults.
        """
        ...

    async def update(self, guild: str, changes: Mapping[str, Any], *, actor: str) -> GuildSettings:
        """Set the named settings of ``guild``; a value of None goes back to the default. Returns what holds now.

        ``actor`` is the Discord id of who asked, or ``cli``. Publishes GuildSettingsChanged, at once in every process.

        Raises:
            UsageError: no such setting, or a value it cannot have.
            Unreachable: the store does not answer; the sentence says whether it is known that nothing was changed.
        """
        ...


class StatusSource(Protocol):
    """How the services of this process are; the registry's `Running` is one."""

    def statuses(self) -> Sequence[ServiceStatus]:
        """Every service with its state, in start order."""
        ...

    async def health(self, timeout_s: float = 2.0) -> Sequence[ServiceHealth]:
        """Ask every service that can be asked, all at once, each for at most ``timeout_s``."""
        ...

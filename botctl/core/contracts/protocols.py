"""What features ask of each other. They meet here, so that none imports another.

Each is also the key under which the registry knows the service: a factory that needs one says ``limiter: Limiter``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from botctl.core.contracts.audit_entry import AuditEntry
from botctl.core.contracts.guild_settings import GuildSettings
from botctl.core.contracts.invocation import Invocation
from botctl.core.contracts.leasing import Holder
from botctl.core.contracts.service_state import Health, Status
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

    def statuses(self) -> Sequence[Status]:
        """Every service with its state, in start order."""
        ...

    async def health(self, timeout_s: float = 2.0) -> Sequence[Health]:
        """Ask every service that can be asked, all at once, each for at most ``timeout_s``."""
        ...


class Lease(Protocol):
    """What this process holds for now. ``fence`` is greater than that of every holder before.

    A write that only the holder may do names its fence, and is refused where a greater one was seen: a process can be
    paused between looking at ``held`` and writing.
    """

    name: str
    fence: int
    lost: asyncio.Event
    """Set when it is no longer held, before anybody else can hold it; then ``why`` says what happened, in words."""
    why: str

    @property
    def held(self) -> bool:
        """Whether it is held at this moment."""
        ...


Waits = Callable[[str, float], None]
"""Is told who is waited for (``process 4711 on web-1``), and in how many seconds it is succeeded if it has died."""


class Leases(Protocol):
    """What one process of the bot does at a time, on whatever host."""

    def lease(
        self, name: str, *, ttl_s: float = 15.0, wait_s: float | None = None, waits: Waits | None = None
    ) -> AbstractAsyncContextManager[Lease]:
        """Hold ``name`` until the block ends; then it is free at once. Renewed meanwhile.

        A holder that died is succeeded after its ``ttl_s``. ``wait_s``: how long to wait for it, for ever when None;
        ``waits`` is called once if that takes more than a moment. The block is not ended when the lease is lost: watch
        ``lost``.

        Raises:
            Held: another process holds it, and did for ``wait_s``; the sentence names it.
            Unreachable: the store does not answer.
        """
        ...

    async def holder(self, name: str) -> Holder | None:
        """Who holds it, as far as the store knows: it may have died. None when it is free.

        Raises:
            Unreachable: the store does not answer.
        """
        ...

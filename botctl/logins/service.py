"""The gate of the logins as a service of `botctl run`: it claims the token, and says what it waits for."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from redis.asyncio import Redis

from botctl.core.clock import Clock, from_unix_ms
from botctl.core.config.settings import Settings
from botctl.core.contracts.audit_entry import current_operator, make_entry
from botctl.core.contracts.discord_access import DiscordAccess
from botctl.core.contracts.logins import SPACING_S, WAITING, LoginWait
from botctl.core.contracts.protocols import Auditor
from botctl.core.errors import BotctlError, Held
from botctl.core.processes.runtime import Runtime
from botctl.core.services.tasks import Backoff, Tasks
from botctl.core.telemetry.metrics import Metrics
from botctl.logins.budget import Budget
from botctl.logins.gate import BudgetGate
from botctl.logins.history import StartHistory
from botctl.logins.login_file import LoginFile
from botctl.logins.requests import RequestQueue
from botctl.logins.shared import RedisLogins
from botctl.logins.token_claim import LEASE_S, TokenLease, fingerprint_of, host_address, host_claim, this_process

START_S: Final = LEASE_S + 20.0
"""How long the start may take: it waits for the lease of a process that died on another host."""
DISCORD_SPACING_S: Final = 5.0
_log = logging.getLogger(__name__)


class LoginNotes:
    """What the service says of itself: its wait, and an outage of Redis."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._wait = ""
        self._outage = ""

    def tell(self, wait: LoginWait | None) -> None:
        self._wait = describe_wait(wait) if wait else ""
        if wait:
            _log.warning("%s", self._wait)
        self._show()

    def outage(self, error: BotctlError | None) -> None:
        new = str(error or "")
        if new and not self._outage:
            _log.warning("%s", new)
        if bool(new) != bool(self._outage):
            self._outage = new
            self._show()

    def _show(self) -> None:
        note = "; ".join(filter(None, (self._wait, self._outage)))
        if note:
            self._tasks.degraded(note)
        else:
            self._tasks.recovered()


def describe_wait(wait: LoginWait) -> str:
    """For people: ``waiting for logins until 12:30:05 UTC: …``."""
    return f"{WAITING} until {wait.until:%Y-%m-%d %H:%M:%S} UTC: {wait.reason}"


def describe_budget(budget: Budget) -> str:
    """For people: ``941 of 1,000 logins left until 14:03 UTC``."""
    until = f"{from_unix_ms(budget.resets_ms):%H:%M} UTC"
    return f"{budget.left:,} of {budget.total:,} logins left until {until}"


def spacing_of(settings: Settings, discord: DiscordAccess) -> float:
    """Seconds between two logins of one key. The sandbox may ask for less than Discord: ``concurrency_s``."""
    wanted_s = settings.sandbox.limits.get("concurrency_s") if discord.base_url else None
    return SPACING_S if wanted_s is None else float(wanted_s) * SPACING_S / DISCORD_SPACING_S


async def ping_gate(gate: Any) -> str | None:
    """The ping of the service, which is a `BudgetGate`: the budget as last known, and the ``max_concurrency``."""
    return f"{describe_budget(gate.budget)}, {gate.max_concurrency} at a time" if gate.budget else None


@asynccontextmanager
async def login_gate(
    *,
    settings: Settings,
    discord: DiscordAccess,
    redis: Redis,
    runtime: Runtime,
    clock: Clock,
    tasks: Tasks,
    auditor: Auditor,
    history: StartHistory,
    metrics: Metrics | None = None,
) -> AsyncIterator[BudgetGate]:
    """Factory of the service.

    Raises:
        Held: another process has the token.
        Unreachable: Redis does not answer.
    """
    fingerprint = fingerprint_of(discord)
    me = this_process(runtime.root, clock)
    lease = TokenLease(redis, fingerprint, me)
    notes = LoginNotes(tasks)
    gate = BudgetGate(
        LoginFile(runtime.folder, fingerprint),
        RedisLogins(redis, fingerprint),
        clock,
        series=history.series if history.series.logged_in else None,  # the others have paused before their services
        override=history.override,
        tell=notes.tell,
        on_login=history.count_login,
        on_outage=notes.outage,
        spacing_s=spacing_of(settings, discord),
    )

    async def keep_lease() -> None:
        try:
            await lease.renew()
        except Held as error:
            gate.close(error)
            raise

    async with host_claim(host_address(fingerprint), me):
        await lease.take()
        try:
            if history.override:
                auditor.record(make_entry("gateway.start_now", current_operator(), at=clock.now(), iface="cli"))
            if metrics is not None:
                metrics.watch("botctl_logins_total", "Logins (IDENTIFY) of this process.", lambda: gate.logins)
                text = "Logins that Discord allows until its limit resets."
                metrics.watch("botctl_logins_left", text, lambda: gate.budget.left if gate.budget else 0)
            tasks.spawn(keep_lease, name="token lease")
            overrides = partial(RequestQueue(redis, fingerprint).serve_overrides, gate)
            tasks.spawn(overrides, name="overrides", restart=Backoff())
            yield gate
        finally:
            await tasks.cancel()
            await lease.release()

"""Services of `botctl gateway`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial

from redis.asyncio import Redis

from botctl.bot.gateway.restart_reasons import why_login
from botctl.core.clock import Clock, SystemClock
from botctl.core.config.loading import Loaded
from botctl.core.contracts.audit_entry import AuditOutcome, Target, current_operator, make_entry
from botctl.core.contracts.discord_access import DiscordAccess
from botctl.core.contracts.logins import WAITING
from botctl.core.contracts.protocols import Auditor
from botctl.core.errors import BotctlError, NeedsDecision, Unreachable, UsageError
from botctl.core.processes.runtime import Runtime
from botctl.logins.report import LoginReport, read_file, read_logins
from botctl.logins.requests import RequestQueue
from botctl.logins.restart_plan import RestartPlan, plan_restart
from botctl.logins.service import describe_budget
from botctl.logins.token_claim import fingerprint_of
from botctl.monitor.reader import read_reports
from botctl.monitor.rows import Presence, ProcessReport
from botctl.monitor.snapshot import ShardSnapshot
from botctl.run.oneshot.services import open_services
from botctl.run.providers import add_audit, add_mongo, add_redis
from botctl.sandbox.process.service import running_sandbox
from botctl.stores.redis import running_redis

_NO_GATEWAY = "No process has the gateway"


@dataclass(frozen=True, slots=True)
class GatewayReport:
    """The shards that processes report, by number, and the logins of the token. ``waiting``: what logins wait for."""

    shards: tuple[ShardSnapshot, ...]
    logins: LoginReport
    waiting: str = ""
    why_login: Mapping[int, str] = field(default_factory=dict)

    @property
    def plan(self) -> RestartPlan:
        """What a restart now would cost."""
        shards, logins = tuple(self.why_login), self.logins
        return plan_restart(shards, logins.budget, logins.max_concurrency, why_login=self.why_login)


async def read_gateway(loaded: Loaded) -> GatewayReport:
    """The gateway of the bot, running or not. Starts no store.

    Raises Unreachable if there is no token, and no sandbox of the project runs.
    """
    runtime = Runtime(loaded.root)
    access = _access(loaded, runtime)
    fingerprint = fingerprint_of(access)
    clock = SystemClock()
    explain = partial(why_login, runtime.folder, loaded.settings, access, clock=clock)
    async with AsyncExitStack() as stack:
        try:
            redis = await stack.enter_async_context(running_redis(loaded.settings, runtime))
        except Unreachable as error:
            logins = read_file(runtime.folder, fingerprint, clock, shards=1, note=str(error))
            return GatewayReport((), logins, why_login=explain(_expected(loaded)))
        reports = await read_reports(redis, loaded.settings.bot)
        rows = known_shards(reports)
        logins = await read_logins(redis, runtime.folder, fingerprint, clock, shards=max(1, len(rows)))
        details = (service.detail for each in reports if each.snapshot for service in each.snapshot.services)
        waiting = next((detail for detail in details if detail.startswith(WAITING)), "")
        return GatewayReport(rows, logins, waiting, explain([shard.id for shard in rows] or _expected(loaded)))


def known_shards(reports: Sequence[ProcessReport]) -> tuple[ShardSnapshot, ...]:
    """The shards, in order, as processes have just reported them. Of one that is silent or gone nothing is known."""
    fresh = [report.snapshot for report in reports if report.snapshot and report.presence is Presence.UP]
    shards = {shard.id: shard for snapshot in fresh for shard in snapshot.shards}
    return tuple(shards[number] for number in sorted(shards))


async def reconnect(loaded: Loaded, shard: int | None, *, fresh: bool, reason: str = "") -> tuple[int, ...]:
    """Let the running bot reconnect ``shard`` (None: all), and audit it. Returns the shards.

    Raises:
        UsageError: there is no such shard.
        NeedsDecision: ``fresh``, and automatic logins may not spend so many.
        Unreachable: no process has the gateway, it does not answer, or a store does not.
    """
    report = await read_gateway(loaded)
    if report.logins.holder is None:
        raise Unreachable(f"{_NO_GATEWAY}: no bot with this token runs.", hint="Start it with `botctl run`.")
    wanted = len(report.shards) if shard is None else 1
    if fresh and wanted > report.logins.budget.spendable:
        budget = report.logins.budget
        sentence = (
            f"{wanted} shards would wait for logins: {describe_budget(budget)}, {budget.reserve} kept in reserve."
        )
        raise NeedsDecision(sentence, hint="Reconnect without --fresh: that costs no login.")
    access = _access(loaded, Runtime(loaded.root))
    async with open_services(loaded, add_redis, add_mongo, add_audit) as running:
        target = Target("shard", "all" if shard is None else str(shard))
        entry = make_entry(
            "gateway.reconnect",
            current_operator(),
            at=running.get(Clock).now(),
            iface="cli",
            target=target,
            reason=_reason("log in again" if fresh else "resume", reason),
        )
        queue = RequestQueue(running.get(Redis), fingerprint_of(access))
        try:
            shards = await queue.ask(shard, fresh=fresh)
        except BotctlError:
            running.get(Auditor).record(replace(entry, outcome=AuditOutcome.ERROR))
            raise
        running.get(Auditor).record(entry)
        return shards


async def log_in_now(loaded: Loaded, reason: str = "") -> None:
    """Let the bot that waits for logins log in now, and audit it.

    Raises:
        UsageError: it does not wait.
        Unreachable: no bot runs, or a store does not answer.
    """
    report = await read_gateway(loaded)
    if report.logins.holder is None:
        raise Unreachable(f"{_NO_GATEWAY}: no bot with this token runs.", hint="Start it with `botctl run --now`.")
    if not report.waiting:
        raise UsageError("The bot does not wait for logins.", hint="`botctl gateway status` shows its shards.")
    access = _access(loaded, Runtime(loaded.root))
    async with open_services(loaded, add_redis, add_mongo, add_audit) as running:
        await RequestQueue(running.get(Redis), fingerprint_of(access)).override()
        entry = make_entry(
            "gateway.login_now",
            current_operator(),
            at=running.get(Clock).now(),
            iface="cli",
            reason=_reason(report.waiting, reason),
        )
        running.get(Auditor).record(entry)


def _reason(what: str, why: str) -> str:
    """The reason of an entry: what is known of it, and what the operator says."""
    return f"{what}: {why}" if why else what


def _expected(loaded: Loaded) -> range:
    """The shards of a bot that does not run. Where Discord decides, their number is not known: it is taken for one."""
    return range(loaded.settings.discord.shard_count or 1)


def _access(loaded: Loaded, runtime: Runtime) -> DiscordAccess:
    token = loaded.settings.discord.token
    return running_sandbox(loaded.settings, runtime) if token is None else DiscordAccess(token.get_secret_value())

"""The bot as a service of the registry: log in, connect, wait until it is ready, drain, close.

disnake's own signal handling (``bot.run``) is not used: it cancels commands under way and drops the session.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from typing import Any, Final

from botctl.bot.arrivals import Arrivals, NoClaims
from botctl.bot.catalog import Catalog, EventHandler
from botctl.bot.claims import RedisClaims
from botctl.bot.client import Bot
from botctl.bot.discord_time import ask_for_time, keep_time
from botctl.bot.endpoint_override import override_endpoint
from botctl.bot.invalid_requests import InvalidRequests
from botctl.bot.login import close_bot, connect, log_in, watch_gateway
from botctl.bot.outgoing import redact_outgoing
from botctl.bot.pipeline import Pipeline
from botctl.bot.reconnects import shorten_reconnect_logs
from botctl.bot.registration import Problems, keep_registering, require_registered
from botctl.bot.workarounds import fix_heartbeat_latency, fix_silent_loops, fix_webhook_locks, follow_ups_observed
from botctl.core.clock import Clock
from botctl.core.config.settings import Settings
from botctl.core.contracts.access import AccessControl
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.discord_access import DiscordAccess
from botctl.core.contracts.events import DrainStarted
from botctl.core.contracts.logins import LoginGate
from botctl.core.contracts.protocols import Auditor, GuildSettingsStore, Limiter
from botctl.core.contracts.throttle import parse
from botctl.core.driver_errors.failing_store import failing_store
from botctl.core.errors import ANYTHING, Unreachable
from botctl.core.event_loop.tasks import is_own_cancellation
from botctl.core.services.registry import Backoff, Services, Tasks
from botctl.core.signatures import parameters_of
from botctl.core.telemetry.metrics import Metrics

SANDBOX_READY_S: Final = 0.1
"""How long to wait for another guild; the sandbox (a local Discord) sends them at once. disnake waits 2 s."""
COG_LOAD_S: Final = 20.0
"""How long the connected bot waits for ``cog_load`` methods before it is ready."""
_log = logging.getLogger(__name__)


class BotService:
    """The running bot."""

    def __init__(self, bot: Bot, publish: Callable[[Any], None]) -> None:
        self.bot = bot
        self._publish = publish
        self._drained = False

    @property
    def in_flight(self) -> int:
        return self.bot.pipeline.in_flight

    async def drain(self, limit_s: float, *, reason: str = "stop") -> None:
        """Take no new work, wait ``limit_s`` seconds for the rest, then cancel it. Only the first call counts."""
        if self._drained:
            return
        self._drained = True
        self._publish(DrainStarted(reason=reason, in_flight=self.in_flight, limit_s=limit_s))
        await self.bot.pipeline.drain(limit_s)

    def latencies_ms(self) -> dict[int, float]:
        """Return the latency of the heartbeat by shard, in milliseconds; shards without one are left out."""
        latency_s = self.bot.latency
        return {self.bot.shard_id or 0: latency_s * 1000} if 0 <= latency_s < float("inf") else {}

    @property
    def shard_ids(self) -> tuple[int, ...]:
        """See `GatewayControl`."""
        return (self.bot.shard_id or 0,)

    async def reconnect(self, shard: int, *, fresh: bool) -> None:  # noqa: ARG002  there is one
        """See `GatewayControl`."""
        await self.bot.ws.close(1000 if fresh else 4000)

    async def ping(self) -> str | None:
        """Return the gateway's latency as a text for the service registry. Raises Unreachable if not connected."""
        if self.bot.is_closed() or not self.bot.is_ready():
            raise Unreachable("the gateway is not connected")
        latencies_ms = self.latencies_ms().values()
        return f"latency {max(latencies_ms):.0f} ms" if latencies_ms else "no heartbeat yet"


@asynccontextmanager
async def bot_service(
    *,
    settings: Settings,
    discord: DiscordAccess,
    access: AccessControl,
    catalog: Catalog,
    bus: Bus,
    clock: Clock,
    limiter: Limiter,
    auditor: Auditor,
    guilds: GuildSettingsStore,
    services: Services,
    tasks: Tasks,
    metrics: Metrics | None = None,
    claims: RedisClaims | None = None,
    logins: LoginGate | None = None,
) -> AsyncIterator[BotService]:
    """Connect, run until the block ends, then drain (``shutdown.drain_s``) and close.

    Raises:
        CommandFaults: a command could not be installed, or Discord refuses it.
        DeadToken, ConfigError: Discord refuses the token or the intents.
        Held: Discord allows no session before the time in the message.
        Unreachable: Discord does not answer.
    """
    fix_webhook_locks()
    fix_heartbeat_latency()
    redact_outgoing()
    fix_silent_loops()
    shorten_reconnect_logs()
    options = {"guild_ready_timeout": SANDBOX_READY_S} if discord.base_url else {}
    pipeline = Pipeline(
        publish=bus.publish,
        limiter=limiter,
        auditor=auditor,
        guilds=guilds,
        clock=clock,
        access=access,
        arrivals=(arrivals := Arrivals(claims=claims or NoClaims())),
        limits=parse(settings.commands.throttle),
        suggestion_limits=parse(settings.commands.autocomplete_throttle),
        defer_after_s=settings.commands.defer_after_s,
    )
    with override_endpoint(discord.base_url), follow_ups_observed(pipeline.heard_follow_up):
        bot = Bot(
            services=services,
            publish=bus.publish,
            settings=settings.discord,
            pipeline=pipeline,
            logins=logins,
            **options,
        )
        service = BotService(bot, bus.publish)
        if metrics is not None:
            metrics.watch(
                "botctl_interactions_unhandled_total",
                "Interactions that were repeated, or came too late.",
                lambda: asdict(arrivals.counts),
                label="why",
            )
            metrics.watch_bot(service.latencies_ms, pipeline.describe_task, bot.invalid_requests.recent)
            _watch_refusals(metrics, bot.invalid_requests)
        try:
            await catalog.install(bot, services)
            for sentence in catalog.left_out:
                _log.warning("left out: %s", sentence)
            if not catalog.files:
                _log.warning("%s contains no commands", catalog.folder)
            limiter.declare("bot", bot.policies())
            problems = Problems(tasks)
            _report_gateway_state(bot, problems)
            await log_in(bot, discord)
            await ask_for_time(bot, arrivals.clock)
            try:  # commands arrive from now on
                gateway_task = await connect(bot, settings)
                tasks.spawn(partial(watch_gateway, gateway_task), name="gateway")
                for handler in catalog.handlers:
                    run = partial(_run_handler, bus, handler, _handler_arguments(handler, bot, services))
                    tasks.spawn(run, name=f"on {handler.function.__qualname__}", restart=Backoff())
                await _finish_cog_loads(bot, catalog)
                await require_registered(bot, catalog, problems)
                tasks.spawn(partial(keep_registering, bot, problems), name="commands")
                tasks.spawn(partial(keep_time, bot, arrivals.clock, arrivals.doubt), name="time")
                yield service
            finally:
                await service.drain(settings.shutdown.drain_s)
                await bot.pipeline.drain(0)  # answers the users if the drain was cancelled
        finally:
            tasks.close()  # the gateway ends below; after a failed start that must not hide the failure
            await close_bot(bot)


def _watch_refusals(metrics: Metrics, requests: InvalidRequests) -> None:
    metrics.watch(
        "botctl_refused_requests_total", "Requests that Discord refused.", lambda: requests.refusals, label="status"
    )
    text = "Refused requests in the last ten minutes that count towards a ban of the address."
    metrics.watch("botctl_invalid_requests", text, requests.recent)


def _report_gateway_state(bot: Bot, problems: Problems) -> None:
    async def disconnected() -> None:
        problems.report("gateway", "the gateway is disconnected")

    async def reconnected() -> None:
        problems.report("gateway", "")

    bot.add_listener(disconnected, "on_disconnect")
    bot.add_listener(reconnected, "on_ready")
    bot.add_listener(reconnected, "on_resumed")


async def _finish_cog_loads(bot: Bot, catalog: Catalog) -> None:
    """Wait for the ``cog_load`` methods that wait for the connection. One that never ends only gets a warning."""
    for name in await catalog.finish_cog_loads(bot, COG_LOAD_S):
        _log.warning("cog_load of %s has not ended in %.0f s; put endless work into a task", name, COG_LOAD_S)


def _handler_arguments(handler: EventHandler, bot: Bot, services: Services) -> dict[str, Any]:
    parameters = parameters_of(handler.function)[1:]
    return {p.name: bot if p.key is Bot else services.get(p.key) for p in parameters if not p.optional or p.key is Bot}


async def _run_handler(bus: Bus, handler: EventHandler, arguments: dict[str, Any]) -> None:
    name = handler.function.__qualname__
    with bus.subscribe(*handler.events, name=f"on {name}") as subscription:
        async for event in subscription:
            try:
                result = handler.function(event, **arguments)
                if asyncio.iscoroutine(result):
                    await result
            except ANYTHING as error:  # an author's function; the next event is still handled
                if is_own_cancellation(error):
                    raise
                sentence = failing_store(error)
                _log.error(
                    "%s failed on %s%s", name, event.type, f": {sentence}" if sentence else "", exc_info=not sentence
                )

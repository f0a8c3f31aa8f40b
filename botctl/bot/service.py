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

from botctl.bot.catalog import Catalog, EventHandler
from botctl.bot.client import Bot
from botctl.bot.current_token import CurrentToken
from botctl.bot.discord_time import ask_for_time, keep_time
from botctl.bot.endpoint_override import override_endpoint
from botctl.bot.gateway.shard_rules import down_sentence
from botctl.bot.gateway.shards import RELOGIN_S
from botctl.bot.gateway.stored_sessions import StoredSessions
from botctl.bot.interactions.arrivals import Arrivals, NoClaims
from botctl.bot.interactions.claims import RedisClaims
from botctl.bot.interactions.pipeline import Pipeline
from botctl.bot.login import close_bot, connect, log_in, watch_gateway
from botctl.bot.member_changes import watch_member_changes
from botctl.bot.registration import Problems, keep_registering, require_registered
from botctl.bot.requests.invalid_requests import InvalidRequests
from botctl.bot.requests.outgoing import redact_outgoing
from botctl.bot.shard_watch import ShardWatch
from botctl.bot.workarounds import fix_heartbeat_latency, fix_silent_loops, fix_webhook_locks, follow_ups_observed
from botctl.core.clock import Clock
from botctl.core.config.settings import Settings
from botctl.core.contracts.access import AccessControl
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.discord_access import DiscordAccess
from botctl.core.contracts.events import DrainStarted
from botctl.core.contracts.logins import LoginGate, OpenGate
from botctl.core.contracts.protocols import Auditor, GuildSettingsStore, Limiter
from botctl.core.contracts.shards import ShardStatus
from botctl.core.contracts.throttle import parse
from botctl.core.driver_errors.failing_store import failing_store
from botctl.core.errors import ANYTHING, ServiceTimeout, Unreachable
from botctl.core.event_loop.tasks import is_own_cancellation
from botctl.core.services.registry import Backoff, Services, Tasks
from botctl.core.signatures import parameters_of
from botctl.core.telemetry.metrics import Metrics

SANDBOX_READY_S: Final = 0.1
"""How long to wait for another guild; the sandbox (a local Discord) sends them at once. disnake waits 2 s."""
PREPARE_S: Final = 60.0
"""How long the command files and the first requests to Discord may take."""
COG_LOAD_S: Final = 20.0
"""How long the connected bot waits for ``cog_load`` methods before it is ready."""
_log = logging.getLogger(__name__)


class BotService:
    """The running bot."""

    def __init__(self, bot: Bot, publish: Callable[[Any], None], problems: Problems) -> None:
        self.bot = bot
        self.shard_watch = ShardWatch(bot, problems)
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

    def shards(self) -> tuple[ShardStatus, ...]:
        """Return every shard as it is now; none before the login."""
        return self.bot.gateway.statuses()

    @property
    def shard_ids(self) -> tuple[int, ...]:
        """The shards of this process."""
        return tuple(range(self.bot.gateway.count))

    async def reconnect(self, shard: int, *, fresh: bool) -> None:
        """Close the connection of ``shard``, which then opens another one.

        Waits until the old one is closed, which may take seconds on a dead network, but not until the new one is open.
        The shard resumes its session, which misses no event and costs no login; ``fresh``: it logs in.
        """
        await self.bot.gateway.restart(shard, fresh=fresh)

    async def ping(self) -> str | None:
        """Return the gateway's latency as a text for the service registry. Raises Unreachable if not connected."""
        shards = self.shards()
        up = [shard for shard in shards if shard.up]
        if self.bot.is_closed() or not self.bot.is_ready() or not up:
            raise Unreachable("the gateway is not connected")
        latencies_ms = [shard.latency_ms for shard in up if shard.latency_ms is not None]
        latency = f"latency {max(latencies_ms):.0f} ms" if latencies_ms else "no heartbeat yet"
        state = down_sentence(shards) or (f"{len(shards)} shards" if len(shards) > 1 else "")
        return "; ".join(filter(None, (state, latency, self.shard_watch.notice)))


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
    sessions: StoredSessions | None = None,
) -> AsyncIterator[BotService]:
    """Connect, run until the block ends, then drain (``shutdown.drain_s``) and close.

    Raises:
        CommandFaults: a command could not be installed, or Discord refuses it.
        DeadToken, ConfigError: Discord refuses the token or the intents.
        Held: Discord allows no login before the time in the message, or ``logins`` allows none.
        Unreachable: Discord does not answer.
    """
    fix_webhook_locks()
    fix_heartbeat_latency()
    redact_outgoing()
    fix_silent_loops()
    options: dict[str, Any] = {"relogin_s": RELOGIN_S}
    if discord.base_url:
        options = {"relogin_s": (0.0, 0.0), "guild_ready_timeout": SANDBOX_READY_S}
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
            logins=logins or OpenGate(),
            sessions=sessions,
            **options,
        )
        problems = Problems(tasks)
        service = BotService(bot, bus.publish, problems)
        if metrics is not None:
            metrics.watch(
                "botctl_interactions_unhandled_total",
                "Interactions that were repeated, or came too late.",
                lambda: asdict(arrivals.counts),
                label="why",
            )
            metrics.watch_bot(
                service.shards,
                pipeline.describe_task,
                bot.invalid_requests.recent,
                requests=bot.request_outcomes.seen,
            )
            _watch_refusals(metrics, bot.invalid_requests)
        try:
            watch_member_changes(bot, access, bus.publish)
            token = CurrentToken(discord)
            async with _prepared_in_time():
                await catalog.install(bot, services)
                for sentence in catalog.left_out:
                    _log.warning("left out: %s", sentence)
                if not catalog.files:
                    _log.warning("%s contains no commands", catalog.folder)
                limiter.declare("bot", bot.policies())
                await log_in(bot, token)
                await ask_for_time(bot, arrivals.clock)
            try:  # commands arrive from now on
                gateway_task = await connect(bot, settings, token)
                tasks.spawn(partial(watch_gateway, gateway_task), name="gateway")
                tasks.spawn(service.shard_watch.run, name="shards")
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
                await bot.gateway.close(keep_sessions=sessions is not None)  # what comes now is for the next process
                await bot.pipeline.drain(0)  # answers the users if the drain was cancelled
        finally:
            tasks.close()  # the gateway ends below; after a failed start that must not hide the failure
            await close_bot(bot, keep_sessions=sessions is not None)


@asynccontextmanager
async def _prepared_in_time() -> AsyncIterator[None]:
    """Raises ServiceTimeout after `PREPARE_S`. Only the connections to the gateway may take longer: see `connect`."""
    limit = asyncio.timeout(PREPARE_S)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        sentence = f"bot was not prepared in {PREPARE_S:.0f} s"
        raise ServiceTimeout(sentence, hint="See the log for how far it came.") from error


def _watch_refusals(metrics: Metrics, requests: InvalidRequests) -> None:
    metrics.watch(
        "botctl_refused_requests_total", "Requests that Discord refused.", lambda: requests.refusals, label="status"
    )
    text = "Refused requests in the last ten minutes that count towards a ban of the address."
    metrics.watch("botctl_invalid_requests", text, requests.recent)


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

"""The bot as a service of the registry: log in, connect, wait until it is ready, drain, close.

disnake's own signal handling (``bot.run``) is not used: it cancels commands under way and drops the session.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from itertools import chain, repeat
from typing import Any, Final

import aiohttp
import disnake
from disnake.http import Route

from botctl.bot.arrivals import Arrivals, NoClaims
from botctl.bot.catalog import Catalog, EventHandler
from botctl.bot.claims import RedisClaims
from botctl.bot.client import Bot, intents_of
from botctl.bot.command_sync import RETRY_S
from botctl.bot.decisions import RoleGrants
from botctl.bot.discord_clock import DiscordClock, dates_learnt
from botctl.bot.endpoint_override import override_endpoint
from botctl.bot.invalid_requests import InvalidRequests
from botctl.bot.outgoing import redact_outgoing
from botctl.bot.pipeline import Pipeline
from botctl.bot.reconnects import shorten_reconnect_logs
from botctl.bot.workarounds import fix_heartbeat_latency, fix_silent_loops, fix_webhook_locks, follow_ups_observed
from botctl.core.clock import Clock
from botctl.core.config.settings import Settings
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.discord_access import DiscordAccess
from botctl.core.contracts.events import DrainStarted
from botctl.core.contracts.protocols import Auditor, GuildSettingsStore, Limiter
from botctl.core.contracts.throttle import parse
from botctl.core.errors import ANYTHING, BotctlError, CommandFaults, ConfigError, DeadToken, Held, Unreachable
from botctl.core.event_loop.tasks import create_watched_task, is_own_cancellation
from botctl.core.services.registry import Backoff, Services, Tasks
from botctl.core.signatures import parameters_of
from botctl.core.telemetry.metrics import Metrics

PRIVILEGED: Final = ("members", "presences", "message_content")
"""Discord: Gateway > Privileged Intents."""
SANDBOX_READY_S: Final = 0.1
"""How long to wait for another guild; the sandbox (a local Discord) sends them at once. disnake waits 2 s."""
COG_LOAD_S: Final = 20.0
"""How long the connected bot waits for ``cog_load`` methods before it is ready."""
SYNC_S: Final = 20.0
"""How long the connected bot waits for Discord to take its commands before it is ready, but degraded."""
ASK_EVERY_S: Final = 600.0
ASK_AGAIN_S: Final = 30.0
ASK_LIMIT_S: Final = 3.0
_LOGIN_ATTEMPTS: Final = 3
_FATAL_CLOSE_CODES: Final = {  # Discord: Gateway Close Event Codes; disnake gives up at these
    4010: "the shard does not exist",
    4011: "the bot is in too many guilds for one shard",
    4012: "Discord does not know this version of the gateway",
    4013: "the intents in discord.intents do not exist",
}
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
    access: DiscordAccess,
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
    options = {"guild_ready_timeout": SANDBOX_READY_S} if access.base_url else {}
    pipeline = Pipeline(
        publish=bus.publish,
        limiter=limiter,
        auditor=auditor,
        guilds=guilds,
        clock=clock,
        roles=RoleGrants(settings.roles),
        arrivals=(arrivals := Arrivals(claims=claims or NoClaims())),
        limits=parse(settings.commands.throttle),
        suggestion_limits=parse(settings.commands.autocomplete_throttle),
        defer_after_s=settings.commands.defer_after_s,
    )
    with override_endpoint(access.base_url), follow_ups_observed(pipeline.heard_follow_up):
        bot = Bot(services=services, publish=bus.publish, settings=settings.discord, pipeline=pipeline, **options)
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
            await _login(bot, access)
            await _ask_for_time(bot, arrivals.clock)
            gateway_task = await _connect(bot, settings)
            await _finish_cog_loads(bot, catalog)
            await _require_registered(bot, catalog, problems)
            tasks.spawn(partial(_watch_gateway, gateway_task), name="gateway")
            tasks.spawn(partial(_keep_registering, bot, problems), name="commands")
            tasks.spawn(partial(_keep_time, bot, arrivals.clock, arrivals.doubt), name="time")
            for handler in catalog.handlers:
                run = partial(_run_handler, bus, handler, _handler_arguments(handler, bot, services))
                tasks.spawn(run, name=f"on {handler.function.__qualname__}", restart=Backoff())
            try:
                yield service
            finally:
                await service.drain(settings.shutdown.drain_s)
                await bot.pipeline.drain(0)  # answers the users if the drain was cancelled
        finally:
            await _close(bot)


def _watch_refusals(metrics: Metrics, requests: InvalidRequests) -> None:
    metrics.watch(
        "botctl_refused_requests_total", "Requests that Discord refused.", lambda: requests.refusals, label="status"
    )
    text = "Refused requests in the last ten minutes that count towards a ban of the address."
    metrics.watch("botctl_invalid_requests", text, requests.recent)


async def _login(bot: Bot, access: DiscordAccess) -> None:
    """Log in. Network errors are retried; a refused token is not."""
    for attempt in range(1, _LOGIN_ATTEMPTS + 1):
        try:
            await bot.login(access.token)
        except (aiohttp.ClientError, OSError, disnake.DiscordServerError) as error:
            if attempt == _LOGIN_ATTEMPTS:
                raise _to_botctl_error(error) from error
            _log.warning("Discord does not answer (%s), trying again", type(error).__name__)
            await bot.http.close()  # the next attempt makes another session, and would leave this one open
            await asyncio.sleep(attempt)
        except disnake.DiscordException as error:
            raise _to_botctl_error(error) from error
        else:
            return


async def _ask_for_time(bot: Bot, clock: DiscordClock) -> None:
    """Learn Discord's time from the answer to a request. Without one, the ids of interactions must do."""
    session = getattr(bot.http, f"_{type(bot.http).__name__}__session")  # disnake's own, made by the login
    with contextlib.suppress(disnake.DiscordException, aiohttp.ClientError, OSError, TimeoutError):
        async with asyncio.timeout(ASK_LIMIT_S):
            with dates_learnt(session, clock):
                await bot.http.request(Route("GET", "/gateway"))


async def _keep_time(bot: Bot, clock: DiscordClock, doubt: asyncio.Event) -> None:
    """Ask for the time every `ASK_EVERY_S`, and when ``doubt`` is set, at most every `ASK_AGAIN_S`.

    A bot that refuses everything for its age gets no other answers, so it would never learn that it is wrong.
    """
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ASK_EVERY_S):
                await doubt.wait()
        await _ask_for_time(bot, clock)
        await asyncio.sleep(ASK_AGAIN_S)
        doubt.clear()


async def _connect(bot: Bot, settings: Settings) -> asyncio.Task[None]:
    """Open the gateway and wait until the guilds have arrived.

    Return the task that runs the gateway: disnake reconnects for ever. It ends when the bot is closed.
    """

    async def gateway() -> None:
        try:
            await bot.connect()
        except Exception as error:
            raise _to_botctl_error(error, settings) from error

    ready = create_watched_task(bot.wait_until_ready(), name="bot ready")
    gateway_task = asyncio.create_task(gateway(), name="bot gateway")
    try:
        await asyncio.wait({ready, gateway_task}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        gateway_task.cancel()
        raise
    finally:
        ready.cancel()
    if gateway_task.done():
        gateway_task.result()
        raise Unreachable("Discord closed the gateway before the bot was ready")
    return gateway_task


async def _watch_gateway(gateway_task: asyncio.Task[None]) -> None:
    """Wait for the gateway task, so that the registry sees when it ends."""
    try:
        await gateway_task
    finally:
        gateway_task.cancel()


def _to_botctl_error(error: Exception, settings: Settings | None = None) -> BotctlError:
    """Return ``error`` as an error with an exit code and a hint for the operator."""
    match error:
        case disnake.LoginFailure() | disnake.ConnectionClosed(code=4004):
            hint = "Set discord.token (BOTCTL_DISCORD__TOKEN) to the token shown once at Discord's developer portal."
            return DeadToken("Discord refuses the token", hint=hint)
        case disnake.HTTPException(status=401):
            hint = "Set discord.token (BOTCTL_DISCORD__TOKEN) to a valid token."
            return DeadToken("Discord refuses the token", hint=hint)
        case disnake.PrivilegedIntentsRequired():
            missing = [name for name in PRIVILEGED if settings and getattr(intents_of(settings.discord.intents), name)]
            names = ", ".join(missing) or "unknown"
            hint = "Enable them at Discord's developer portal under Bot, or remove them from discord.intents."
            return ConfigError(f"Discord has not granted the privileged intents {names}", hint=hint)
        case disnake.ConnectionClosed(code=code) if code in _FATAL_CLOSE_CODES:
            return ConfigError(f"Discord closed the gateway with {code}: {_FATAL_CLOSE_CODES[code]}")
        case disnake.SessionStartLimitReached(session_start_limit=limit):
            when = limit.reset_time.isoformat(timespec="seconds")
            hint = "Wait until then; Discord resets the token of a bot that starts too often."
            return Held(f"Discord allows no new session before {when}", hint=hint)
        case _:
            return Unreachable(f"Discord does not answer correctly: {type(error).__name__}: {error}")


class Problems:
    """What is wrong with the bot while it runs, by subject. The service is degraded as long as there is any."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._sentences: dict[str, str] = {}

    def sentence(self, subject: str) -> str:
        """Return what is wrong with ``subject``; empty if nothing is."""
        return self._sentences.get(subject, "")

    def report(self, subject: str, sentence: str) -> None:
        """Set the sentence about ``subject``; without one, it is well again."""
        self._sentences.pop(subject, None)
        if sentence:
            self._sentences[subject] = sentence
        if self._sentences:
            self._tasks.degraded("; ".join(self._sentences.values()))
        else:
            self._tasks.recovered()


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


async def _require_registered(bot: Bot, catalog: Catalog, problems: Problems) -> None:
    """Wait until Discord has the commands. Raises CommandFaults if it refuses some, unless ``skip_broken`` is set.

    With any other failure, and if it takes long, the bot is degraded: the commands that Discord has still work.
    """
    try:
        async with asyncio.timeout(SYNC_S):
            await bot.command_sync.done.wait()
    except TimeoutError:
        problems.report("commands", f"Discord has not taken the commands in {SYNC_S:.0f} s; they may be outdated")
        return
    refused = [command for failure in bot.command_sync.failures for command in failure.refused()]
    if refused and not catalog.skip_broken:
        lines = [catalog.locate(command.kind, command.name, bot) + command.sentence for command in refused]
        raise CommandFaults(list(dict.fromkeys(lines)))
    _report_registration(bot, problems)


async def _keep_registering(bot: Bot, problems: Problems) -> None:
    """Send the commands again until Discord has them, where that may help. Runs as long as the bot."""
    await bot.command_sync.done.wait()
    _report_registration(bot, problems)
    for delay_s in chain(RETRY_S, repeat(RETRY_S[-1])):
        if all(failure.is_final for failure in bot.command_sync.failures):
            break
        await asyncio.sleep(delay_s)
        await bot.register_commands()
        _report_registration(bot, problems)
    await asyncio.get_running_loop().create_future()


def _report_registration(bot: Bot, problems: Problems) -> None:
    """Say which commands could not be registered, in the service's state, and in the log if that is new."""
    sentence = "; ".join(map(str, bot.command_sync.failures))
    if sentence and problems.sentence("commands") != sentence:
        _log.warning("%s", sentence)
    problems.report("commands", sentence)


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
                _log.exception("%s failed on %s", name, event.type)


async def _close(bot: Bot) -> None:
    """Close the gateway and the session, and cancel what disnake's login left unfinished."""
    try:
        with contextlib.suppress(aiohttp.ClientError, OSError):
            await bot.close()
    finally:
        await bot.http.close()  # if the gateway's end failed, disnake has left the session open
    unfinished = [
        task for task in asyncio.all_tasks() if task.get_name().startswith("disnake: app_command_preparation")
    ]
    for task in unfinished:
        task.cancel()
    if unfinished:
        await asyncio.wait(unfinished, timeout=1.0)

"""The metrics of one process: counted from the events on its bus, and rendered for Prometheus.

Features add their own: ``metrics.watch("botctl_limiter_checks_total", "…", lambda: counts.checks)``, or any metric of
prometheus_client with ``registry=metrics.registry``. An event costs some microseconds.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import psutil  # type: ignore[import-untyped]
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from botctl.core.clock import Clock, SystemClock, iso_ms
from botctl.core.config.settings import Settings
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.events import (
    AutocompleteAnswered,
    CommandFinished,
    CommandStarted,
    DrainStarted,
    Event,
    GatewayChanged,
    JobFinished,
    Source,
    StoreRestarted,
)
from botctl.core.contracts.health import RequestsSeen
from botctl.core.contracts.invocation import LATE_REASONS, Result
from botctl.core.contracts.protocols import StatusSource
from botctl.core.contracts.shards import ShardStatus
from botctl.core.event_loop.lag import LAG
from botctl.core.services.tasks import Backoff, Tasks
from botctl.core.telemetry.latency import BOUNDS_MS, Latencies
from botctl.core.telemetry.loop_watch import LoopWatch
from botctl.core.telemetry.window import Window
from botctl.core.version import __version__

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
MAX_NAMES: Final = 200
"""The most command names that get their own label. All others are counted as `OTHERS`."""
OTHERS: Final = "(others)"
LAG_EVERY_S: Final = 0.25
LAST_COMMANDS: Final = 20

Read = Callable[[], float | Mapping[str, float]]  # returns a number, or one for each value of a label


@dataclass(frozen=True, slots=True)
class LastCommand:
    """A finished command. ``name`` and ``user`` are not escaped. ``result``: `Result`. ``at``: as `clock.iso_ms`."""

    name: str
    user: str
    result: str
    ms: float
    at: str


class Metrics:
    """The metrics since the start of the process. `on_event` updates them. Read them in the thread of the event loop.

    ``dropped`` returns how many events each subscription lost; ``services`` 1.0 for each usable service, else 0.0.
    """

    def __init__(
        self,
        *,
        bot: str = "bot",
        clock: Clock | None = None,
        dropped: Callable[[], Mapping[str, int]] = dict,
        services: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        clock = clock or SystemClock()
        self.registry = CollectorRegistry()
        self.commands: Counter[tuple[str, str]] = Counter()
        self.latencies = Latencies()
        self.window = Window(clock.monotonic)
        self.last: deque[LastCommand] = deque(maxlen=LAST_COMMANDS)
        self.in_flight = 0
        self.draining = False
        self.autocompletes: Counter[str] = Counter()
        self.jobs: Counter[tuple[str, str]] = Counter()
        self.gateway_changes: Counter[tuple[str, str]] = Counter()
        self.store_restarts: Counter[str] = Counter()
        self.dropped = dropped
        self.services = services
        self.bot = bot
        self._clock = clock
        self._created_s = clock.monotonic()
        self._names: set[str] = set()
        self._connections: Callable[[], int] = int
        self._shards: Callable[[], Sequence[ShardStatus]] = tuple
        self._describe_task: Callable[[asyncio.Task[Any]], str | None] = lambda _: None
        self._invalid_requests: Callable[[], int] = int
        self._requests: Callable[[], RequestsSeen] = RequestsSeen
        self.watched: dict[str, tuple[str, str, Read]] = {}
        self._process = psutil.Process()
        self.registry.register(_Collector(self))
        ProcessCollector(registry=self.registry)

    @property
    def uptime_s(self) -> float:
        return self._clock.monotonic() - self._created_s

    @property
    def rss_bytes(self) -> int:
        return int(self._process.memory_info().rss)

    def cpu_percent(self) -> float:
        """CPU use since the last call, in percent of one core; 0 at the first call."""
        return float(self._process.cpu_percent())

    def finished(self, result: str) -> int:
        """How many commands ended with ``result``."""
        return sum(count for (_, ended), count in self.commands.items() if ended == result)

    def watch(self, name: str, help_text: str, read: Read, *, label: str = "") -> None:
        """Call ``read`` when metrics are rendered. A name that ends in ``_total`` is a counter, any other a gauge.

        With a ``label``, ``read`` returns a number for each value of the label; there must be few. Replaces a metric of
        the same name.
        """
        self.watched[name] = (help_text, label, read)

    def watch_connections(self, count: Callable[[], int]) -> None:
        """Use ``count`` for the number of realtime clients. Replaces an earlier one."""
        self._connections = count

    def watch_bot(
        self,
        shards: Callable[[], Sequence[ShardStatus]],
        describe_task: Callable[[asyncio.Task[Any]], str | None],
        invalid_requests: Callable[[], int],
        requests: Callable[[], RequestsSeen] = RequestsSeen,
    ) -> None:
        """Use the bot's functions for what the methods of the same names return. Replaces earlier ones."""
        self._shards = shards
        self._describe_task = describe_task
        self._invalid_requests = invalid_requests
        self._requests = requests

    @property
    def connections(self) -> int:
        return self._connections()

    def shards(self) -> Sequence[ShardStatus]:
        """The shards of the bot in this process."""
        return self._shards()

    def invalid_requests(self) -> int:
        """Requests of the last ten minutes that count towards a ban by Discord."""
        return self._invalid_requests()

    def requests(self) -> RequestsSeen:
        """How Discord has answered the requests of this process lately."""
        return self._requests()

    def describe_task(self, task: asyncio.Task[Any]) -> str | None:
        """The name of what ``task`` runs (``/block``), or None. Any thread may call it."""
        return self._describe_task(task)

    def record_lag(self, lag_ms: float) -> None:
        """Record that the event loop was ``lag_ms`` late."""
        second = self.window.now()
        second.lag_ms = max(second.lag_ms, lag_ms)

    def on_event(self, event: Event) -> None:
        count = _COUNTED.get(type(event))
        if count is not None:
            count(self, event)

    def _started(self, event: CommandStarted) -> None:  # noqa: ARG002  only its type counts
        self.in_flight += 1

    def _finished(self, event: CommandFinished) -> None:
        self.in_flight = max(0, self.in_flight - 1)
        self.commands[self._limit_name(event.name), event.result] += 1
        second = self.window.now()
        second.finished += 1
        second.late += event.reason in LATE_REASONS
        if not Result(event.result).refused:  # denials are quick and would distort the latencies
            second.latencies = second.latencies or Latencies()
            second.latencies.add(event.took_ms)
            self.latencies.add(event.took_ms)
        at = iso_ms(self._clock.now())
        self.last.append(LastCommand(event.name, event.user_name, event.result, round(event.took_ms, 1), at))

    def _answered(self, event: AutocompleteAnswered) -> None:
        self.autocompletes["yes" if event.ok else "no"] += 1

    def _job(self, event: JobFinished) -> None:
        self.jobs[event.job, event.result] += 1

    def _restarted(self, event: StoreRestarted) -> None:
        self.store_restarts[event.store] += 1

    def _gateway(self, event: GatewayChanged) -> None:
        self.gateway_changes[str(event.shard), event.state] += 1

    def _draining(self, event: DrainStarted) -> None:  # noqa: ARG002
        self.draining = True

    def _limit_name(self, name: str) -> str:
        """``name``, or `OTHERS` if there are `MAX_NAMES` other names already."""
        if name not in self._names and len(self._names) >= MAX_NAMES:
            return OTHERS
        self._names.add(name)
        return name


_COUNTED: Final[Mapping[type[Event], Callable[[Metrics, Any], None]]] = {  # event -> what `on_event` calls
    CommandStarted: Metrics._started,  # noqa: SLF001
    CommandFinished: Metrics._finished,  # noqa: SLF001
    AutocompleteAnswered: Metrics._answered,  # noqa: SLF001
    StoreRestarted: Metrics._restarted,  # noqa: SLF001
    GatewayChanged: Metrics._gateway,  # noqa: SLF001
    DrainStarted: Metrics._draining,  # noqa: SLF001
    JobFinished: Metrics._job,  # noqa: SLF001
}


def render_prometheus(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


@asynccontextmanager
async def process_metrics(settings: Settings, bus: Bus, status: StatusSource, tasks: Tasks) -> AsyncIterator[Metrics]:
    """Factory of the service: the metrics of this process, fed by its bus."""

    def services() -> dict[str, float]:
        return {service.name: float(service.state.up) for service in status.statuses()}

    metrics = Metrics(bot=settings.bot, dropped=bus.dropped, services=services)
    watch = LoopWatch(metrics.describe_task, interval_s=LAG_EVERY_S)

    def record_lag(lag_ms: float) -> None:
        metrics.record_lag(lag_ms)
        watch.record_lag(lag_ms)
        LAG.record(lag_ms / 1000, next_in_s=LAG_EVERY_S)

    tasks.spawn(lambda: measure_lag(record_lag), name="loop lag", restart=Backoff())
    with bus.listen(metrics.on_event, Event), watch:
        try:
            yield metrics
        finally:
            LAG.clear()


async def measure_lag(record_lag: Callable[[float], None]) -> None:
    """Call ``record_lag`` with the milliseconds that the event loop is late, every `LAG_EVERY_S`. Never returns."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_EVERY_S
        await asyncio.sleep(LAG_EVERY_S)
        record_lag(max(0.0, loop.time() - due) * 1000)


class _Collector(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        m = self._metrics
        info = InfoMetricFamily("botctl", "Which botctl this is.")
        info.add_metric([], {"bot": m.bot, "version": __version__, "proc": Source(m.bot).proc})
        yield info
        yield from _command_metrics(m)
        yield from _gateway(m)
        yield _metric("botctl_jobs_total", "Runs of jobs by outcome.", m.jobs, "job", "result")
        yield _metric("botctl_connections", "Clients of the realtime server.", m.connections)
        yield _metric("botctl_uptime_seconds", "Since the process started.", m.uptime_s)
        lag_s = m.window.lag_ms(10) / 1000
        yield _metric("botctl_loop_lag_seconds", "The longest delay of the event loop in 10 s.", lag_s)
        yield _metric(
            "botctl_bus_dropped_total", "Events dropped because a reader was too slow.", m.dropped(), "reader"
        )
        yield _metric("botctl_store_restarts_total", "Restarts of embedded parts.", m.store_restarts, "store")
        yield _metric("botctl_service_up", "Whether a service can be used.", m.services(), "service")
        for name, (help_text, label, read) in m.watched.items():
            yield _metric(name, help_text, read(), label)


def _command_metrics(m: Metrics) -> Iterator[Metric]:
    yield _metric("botctl_commands_total", "Invocations by outcome.", m.commands, "command", "result")
    yield _metric("botctl_commands_in_flight", "Invocations in flight.", m.in_flight)
    took = HistogramMetricFamily("botctl_command_seconds", "From arrival to outcome, without denials.")
    uppers = [*(str(bound / 1000) for bound in BOUNDS_MS), "+Inf"]
    took.add_metric([], list(zip(uppers, accumulate(m.latencies.counts), strict=True)), m.latencies.sum_ms / 1000)
    yield took
    yield _metric("botctl_autocompletes_total", "Requests for suggestions.", m.autocompletes, "ok")


def _gateway(m: Metrics) -> Iterator[Metric]:
    text = "State changes of a shard's connection."
    yield _metric("botctl_gateway_changes_total", text, m.gateway_changes, "shard", "state")
    shards = {str(shard.id): shard for shard in m.shards()}
    connected = {shard: status.up for shard, status in shards.items()}
    yield _metric("botctl_gateway_connected", "Whether the shard receives events.", connected, "shard")
    latencies_s = {n: status.latency_ms / 1000 for n, status in shards.items() if status.latency_ms is not None}
    yield _metric("botctl_gateway_latency_seconds", "Heartbeat to its answer.", latencies_s, "shard")
    guilds = {shard: status.guilds for shard, status in shards.items()}
    yield _metric("botctl_gateway_guilds", "Guilds of the shard.", guilds, "shard")
    deaf = {n: status.hearing.deaf for n, status in shards.items() if status.hearing is not None}
    yield _metric("botctl_gateway_deaf", "Whether Discord leaves the shard's questions unanswered.", deaf, "shard")
    heard = {n: status.last_event_at.timestamp() for n, status in shards.items() if status.last_event_at is not None}
    yield _metric("botctl_gateway_last_event_timestamp_seconds", "When the shard's last event came.", heard, "shard")


def _metric(name: str, help_text: str, value: float | Mapping[Any, float], *labels: str) -> Metric:
    """A counter if ``name`` ends in ``_total``, else a gauge: one number, or one for each value of the labels."""
    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    family = kind(name, help_text, labels=[label for label in labels if label])
    for key, number in value.items() if isinstance(value, Mapping) else [((), value)]:
        family.add_metric([key] if isinstance(key, str) else [str(part) for part in key], number)
    return family

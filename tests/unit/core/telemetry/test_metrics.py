"""What is counted of the events, and how Prometheus reads it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from botctl.core.config.settings import Settings
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.events import (
    AutocompleteAnswered,
    CommandFinished,
    CommandStarted,
    DrainStarted,
    GatewayChanged,
    GuildSettingsChanged,
    JobFinished,
    StoreRestarted,
)
from botctl.core.contracts.service_state import ServiceState, ServiceStatus
from botctl.core.contracts.shards import ShardState, ShardStatus
from botctl.core.event_loop.lag import LAG
from botctl.core.telemetry import metrics as module
from botctl.core.telemetry.latency import BOUNDS_MS
from botctl.core.telemetry.metrics import MAX_NAMES, OTHERS, Metrics, measure_lag, process_metrics, render_prometheus
from tests.support.clock import ManualClock, Standstill
from tests.support.stores import tasks_for
from tests.support.waiting import until

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def finished(name: str = "roll", result: str = "ok", took_ms: float = 4.0) -> CommandFinished:
    return CommandFinished(
        invocation="1", kind="slash", name=name, user="1", user_name="ann", result=result, took_ms=took_ms
    )


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What a Prometheus makes of the text."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(render_prometheus(metrics))
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics)[name, frozenset(labels.items())]


def test_commands_are_counted_by_name_and_result():
    """And their latency; a refusal is quick and would make the handlers look so."""
    metrics = Metrics()
    metrics.on_event(CommandStarted(invocation="1", kind="slash", name="roll", user="1"))
    assert metrics.in_flight == 1
    metrics.on_event(finished())
    metrics.on_event(finished("ops status", "failed", 2500.5))
    metrics.on_event(finished(result="throttled", took_ms=0.5))
    metrics.on_event(finished(result="denied", took_ms=0.5))
    assert metrics.in_flight == 0
    assert value(metrics, "botctl_commands_total", command="roll", result="ok") == 1
    assert value(metrics, "botctl_commands_total", command="ops status", result="failed") == 1
    assert value(metrics, "botctl_command_seconds_count") == 2
    assert value(metrics, "botctl_command_seconds_sum") == pytest.approx(2.5045)
    assert value(metrics, "botctl_command_seconds_bucket", le="0.005") == 1
    assert value(metrics, "botctl_command_seconds_bucket", le="3.0") == 2
    assert value(metrics, "botctl_command_seconds_bucket", le="+Inf") == 2
    assert [last.result for last in metrics.last] == ["ok", "failed", "throttled", "denied"]


def test_buckets_are_cumulative():
    """One more for each bound, and the last is the count."""
    metrics = Metrics()
    for bound in BOUNDS_MS:
        metrics.on_event(finished(took_ms=bound))
    found = samples(metrics)
    uppers = [found["botctl_command_seconds_bucket", frozenset({("le", str(b / 1000))})] for b in BOUNDS_MS]
    assert uppers == list(range(1, len(BOUNDS_MS) + 1))


def test_number_of_names_is_bounded():
    """A user who presses buttons with made-up ids cannot fill the memory."""
    metrics = Metrics()
    for number in range(MAX_NAMES + 50):
        metrics.on_event(finished(f"poll:{number}"))
    assert len(metrics.commands) == MAX_NAMES + 1
    assert metrics.commands[OTHERS, "ok"] == 50
    metrics.on_event(finished("poll:0"))
    assert metrics.commands["poll:0", "ok"] == 2


def test_any_label_value_is_rendered():
    """Quotes, backslashes and newlines are escaped; the text stays one that can be parsed."""
    metrics = Metrics()
    nasty = 'a"b\\c\nbotctl_up 1 {é}'
    metrics.on_event(finished(nasty))
    assert value(metrics, "botctl_commands_total", command=nasty, result="ok") == 1


def test_other_events_are_counted():
    """Shards, stores, jobs, suggestions, the drain; an event that is not counted does nothing."""
    metrics = Metrics(bot="dice", dropped=lambda: {"relay": 3})
    metrics.on_event(GatewayChanged(shard=2, state="connected"))
    metrics.on_event(GatewayChanged(shard=2, state="disconnected"))
    metrics.on_event(AutocompleteAnswered(name="roll", took_ms=1, ok=False))
    metrics.on_event(StoreRestarted(store="redis", exit_status=-9, down_s=0.3))
    metrics.on_event(JobFinished(job="trim", run="1", due="x", fence=1, result="ok"))
    metrics.on_event(GuildSettingsChanged(actor="cli"))
    lost = ShardStatus(id=2, state=ShardState.RESUMING, since=AT, latency_ms=41.5, guilds=250, last_event_at=AT)
    metrics.watch_bot(lambda: [lost], lambda _: None, lambda: 7)
    metrics.watch_connections(lambda: 7)
    assert value(metrics, "botctl_gateway_connected", shard="2") == 0
    assert value(metrics, "botctl_gateway_changes_total", shard="2", state="disconnected") == 1
    assert value(metrics, "botctl_gateway_latency_seconds", shard="2") == pytest.approx(0.0415)
    assert value(metrics, "botctl_gateway_guilds", shard="2") == 250
    assert value(metrics, "botctl_gateway_last_event_timestamp_seconds", shard="2") == AT.timestamp()
    assert value(metrics, "botctl_autocompletes_total", ok="no") == 1
    assert value(metrics, "botctl_store_restarts_total", store="redis") == 1
    assert value(metrics, "botctl_jobs_total", job="trim", result="ok") == 1
    assert value(metrics, "botctl_bus_dropped_total", reader="relay") == 3
    assert value(metrics, "botctl_connections") == 7
    assert value(metrics, "process_resident_memory_bytes") > 1e6
    assert any(name == "botctl_info" and ("bot", "dice") in labels for name, labels in samples(metrics))
    assert not metrics.draining
    metrics.on_event(DrainStarted(reason="stop", in_flight=0, limit_s=1))
    assert metrics.draining


def test_features_can_add_metrics():
    """A callback of one number, or of one for each value of a label; watched again, it is replaced."""
    metrics = Metrics()
    metrics.watch("botctl_sessions", "Sessions.", lambda: 1)
    metrics.watch("botctl_sessions", "Sessions.", lambda: 2)
    metrics.watch("botctl_checks_total", "Checks.", lambda: {"ok": 3, "denied": 4}, label="what")
    text = render_prometheus(metrics)
    assert "# TYPE botctl_sessions gauge\n" in text
    assert "# TYPE botctl_checks_total counter\n" in text
    assert value(metrics, "botctl_sessions") == 2
    assert value(metrics, "botctl_checks_total", what="denied") == 4


def test_every_metric_has_a_help_text_and_a_type():
    """Also those without a sample yet."""
    lines = render_prometheus(Metrics()).splitlines()
    helped = {line.split()[2] for line in lines if line.startswith("# HELP") and len(line.split()) > 3}
    typed = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert helped == typed
    assert {"botctl_commands_total", "botctl_command_seconds", "botctl_loop_lag_seconds"} <= typed


def test_metrics_objects_are_independent():
    """There is no registry for all."""
    first, second = Metrics(), Metrics()
    first.on_event(finished())
    assert second.commands.total() == 0


def test_rate_and_lag_cover_a_window():
    """By the clock that it is given."""
    clock = ManualClock()
    metrics = Metrics(clock=clock)
    metrics.on_event(finished())
    metrics.record_lag(1500)
    assert value(metrics, "botctl_loop_lag_seconds") == 1.5
    clock.advance(11)
    assert value(metrics, "botctl_loop_lag_seconds") == 0
    assert sum(metrics.window.finished()) == 1
    assert metrics.uptime_s == 11


async def test_blocked_loop_is_measured(monkeypatch: pytest.MonkeyPatch):
    """What does not give way for 60 ms is seen as a lag of nearly that."""
    monkeypatch.setattr(module, "LAG_EVERY_S", 0.01)
    lags: list[float] = []
    task = asyncio.create_task(measure_lag(lags.append))
    await until(lambda: bool(lags))
    seen = len(lags)
    time.sleep(0.06)  # noqa: ASYNC251  to block is what is meant
    await until(lambda: len(lags) > seen)
    task.cancel()
    assert lags[seen] >= 45


class Two:
    """A `StatusSource`."""

    def statuses(self) -> list[ServiceStatus]:
        return [
            ServiceStatus("redis", ServiceState.READY, 0.1, "", 0),
            ServiceStatus("bot", ServiceState.STARTING, None, "", 0),
        ]

    async def health(self, timeout_s: float = 2.0) -> list[Any]:
        return []


async def test_own_lag_is_known_while_the_service_runs():
    standstill = Standstill()
    async with tasks_for("metrics") as (tasks, _):
        async with process_metrics(Settings(), Bus(), Two(), tasks):
            await asyncio.sleep(0)  # the task measures from now on
            standstill.stand_still(20)
            await until(lambda: LAG.late_s() > 15)
        assert LAG.late_s() == 0


async def test_service_counts_events_until_it_stops():
    """And knows the services of the process."""
    bus = Bus()
    async with tasks_for("metrics") as (tasks, watcher):
        async with process_metrics(Settings(), bus, Two(), tasks) as metrics:
            bus.publish(finished())
            assert value(metrics, "botctl_service_up", service="redis") == 1
            assert value(metrics, "botctl_service_up", service="bot") == 0
        bus.publish(finished())
        assert metrics.commands.total() == 1
    assert watcher.failures == []

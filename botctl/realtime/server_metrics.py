"""The realtime server's own metrics."""

from __future__ import annotations

from botctl.core.telemetry.metrics import Metrics
from botctl.realtime.connections import ConnectionRegistry
from botctl.realtime.hub import Hub
from botctl.realtime.states import StateHub


def register_metrics(metrics: Metrics, connections: ConnectionRegistry, hub: Hub, states: StateHub) -> None:
    """Let ``metrics`` read the counts of the server's parts when it is asked."""
    connection_counts, counts = connections.counts, hub.counts
    metrics.watch_connections(lambda: len(connections.clients))
    for name, help_text, read in (
        ("botctl_realtime_subscriptions", "Subscriptions to topics.", lambda: hub.subscriptions),
        ("botctl_realtime_watches", "States that clients watch.", lambda: states.watches),
        ("botctl_realtime_held_bytes", "Bytes that wait for clients.", lambda: connections.buffered_bytes),
        ("botctl_realtime_stalled", "Clients with a backlog.", lambda: connections.stalled),
        ("botctl_realtime_opened_total", "Connections that were opened.", lambda: connection_counts.opened),
        ("botctl_realtime_turned_away_total", "Connections rejected by a limit.", lambda: connections.rejected),
        ("botctl_realtime_events_total", "Events read from the log.", lambda: counts.events),
        ("botctl_realtime_deliveries_total", "Events sent to clients.", lambda: counts.deliveries),
        ("botctl_realtime_gaps_total", "Times a client was told that events are lost.", lambda: counts.gaps),
        ("botctl_realtime_recovered_total", "Subscriptions that got all missed events.", lambda: counts.recovered),
        (
            "botctl_realtime_not_recovered_total",
            "Subscriptions that could not get all missed events.",
            lambda: counts.not_recovered,
        ),
    ):
        metrics.watch(name, help_text, read)
    metrics.watch(
        "botctl_realtime_ended_total",
        "Connections closed by the server.",
        lambda: connection_counts.disconnected,
        label="reason",
    )

"""The tables of `botctl.monitor.states`."""

from __future__ import annotations

from botctl.monitor.rows import Presence, Process, ServiceRow, ShardRow
from botctl.monitor.states import state_tables
from botctl.monitor.view import MonitorView, Totals


def test_rows_have_the_names_of_their_processes_and_the_verdict_is_with_the_totals() -> None:
    view = MonitorView(
        bot="b",
        at="2026-01-01T00:00:00.000Z",
        totals=Totals(total=3),
        processes=(Process(proc="h:1", presence=Presence.UP, age_s=0.1),),
        services=(
            ServiceRow(proc="h:1", name="redis", state="degraded", well=False, detail="", took_ms=None, restarts=0),
        ),
        shards=(ShardRow(proc="h:1", id=0, state="ready", latency_ms=1.0),),
        troubles=("redis of h:1 is degraded",),
    )
    tables = state_tables(view)
    assert {name: list(table) for name, table in tables.items()} == {
        "processes": ["h:1"],
        "services": ["h:1/redis"],
        "shards": ["h:1/0"],
        "counts": ["bot"],
    }
    assert tables["counts"]["bot"]["total"] == 3
    assert tables["counts"]["bot"]["troubles"] == ("redis of h:1 is degraded",)

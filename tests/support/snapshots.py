"""Snapshots of processes, as the monitor reads them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from botctl.monitor.snapshot import Snapshot


def make_snapshot(pid: int = 1, **more: Any) -> Snapshot:
    """That of the process ``alpha:<pid>`` of the bot dice, in which nothing is wrong."""
    plain = Snapshot(
        bot="dice",
        host="alpha",
        pid=pid,
        version="1",
        roles=("bot",),
        at="2026-01-02T03:04:04.000Z",
        started="2026-01-02T03:00:00.000Z",
        uptime_s=244.0,
        rss_bytes=80 << 20,
        cpu_percent=1.5,
        lag_ms=2.0,
    )
    return replace(plain, **more)

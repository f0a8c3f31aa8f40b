"""botctl with every interval of the health checks divided by `SCALE`: ``python -m tests.support.quick_run run``.

Discord's and the stores' own times are as always. ``BOTCTL_TEST_SCALE`` replaces the divisor: 1 for the true times.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final

from botctl.auth import access_control
from botctl.bot.gateway import hearing
from botctl.core.contracts import health
from botctl.monitor import health_answer, health_watch, own_health, rows, snapshot, verdict, writer

SCALE: Final = float(os.environ.get("BOTCTL_TEST_SCALE", "20"))
INTERVALS: Final = {
    snapshot: ("EVERY_S",),
    writer: ("HEALTH_EVERY_S",),
    health_watch: ("EVERY_S",),
    health_answer: ("BLOCKED_S",),
    own_health: ("BEAT_S", "_NAMED_S", "_MOMENT_S"),
    rows: ("SILENT_S", "GONE_S"),
    verdict: ("ABSENT_S", "LOST_S"),
    access_control: ("RELOAD_S",),
    health: ("REQUESTS_S",),
}


def shorten() -> None:
    """Divide the intervals, in every module that has imported them."""
    modules = [module for name, module in sys.modules.items() if name.startswith("botctl.")]
    for owner, names in INTERVALS.items():
        for name in names:
            value = getattr(owner, name)
            for module in modules:
                if getattr(module, name, None) is value:
                    setattr(module, name, value / SCALE)
    writer._HEALTH_LIMIT_S = min(writer._HEALTH_LIMIT_S, 8.0 / SCALE)  # a loaded host may take some tenths of a second
    begin = hearing.HearingProbe.__init__

    def begin_quickly(probe: Any, every_s: float = hearing.PROBE_S) -> None:
        begin(probe, every_s / SCALE)

    hearing.HearingProbe.__init__ = begin_quickly  # type: ignore[method-assign]


if __name__ == "__main__":
    from botctl.cli.main import main

    shorten()
    main()

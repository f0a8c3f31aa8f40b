"""What the health checks do for each command, COUNT times: ``python -m bench.health_calls COUNT``.

A command is one event of the gateway and one request to Discord; its answer comes back as a second event.
"""

from __future__ import annotations

import sys
import time

from multidict import CIMultiDict, CIMultiDictProxy

from botctl.bot.gateway.hearing import HearingProbe
from botctl.bot.requests.outcomes import RequestOutcomes
from botctl.core.clock import SystemClock


def main(count: int) -> None:
    probe, outcomes = HearingProbe(), RequestOutcomes(SystemClock())
    headers = CIMultiDictProxy(CIMultiDict({"Content-Type": "application/json", "Via": "1.1 google"}))
    for _ in range(count):
        probe.hear("INTERACTION_CREATE", time.monotonic())
        outcomes.record(204, headers)
        probe.hear("MESSAGE_CREATE", time.monotonic())


if __name__ == "__main__":
    main(int(sys.argv[1]))

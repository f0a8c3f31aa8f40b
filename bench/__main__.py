"""``make bench``: every benchmark in turn; exit code 1 when a threshold is exceeded."""

from __future__ import annotations

import sys

from bench import (
    access,
    connect,
    fanout,
    flood,
    health_cost,
    health_speed,
    help_speed,
    ping,
    sandbox,
    shards,
    start,
    web,
)

if __name__ == "__main__":
    passed = [
        benchmark.main()
        for benchmark in (
            help_speed,
            health_speed,
            start,
            access,
            connect,
            fanout,
            ping,
            health_cost,
            shards,
            flood,
            web,
            sandbox,
        )
    ]
    sys.exit(not all(passed))

"""``make bench``: every benchmark, one after the other; exit code 1 when a bar is missed."""

from __future__ import annotations

import sys

from bench import help_speed, ping, sandbox, start

if __name__ == "__main__":
    held = [benchmark.main() for benchmark in (help_speed, start, ping, sandbox)]
    sys.exit(not all(held))

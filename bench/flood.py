"""``/ping`` of `botctl run` while 200 peers without a key send 2,000 frames a second to its realtime server.

Idle and flooded phases of one process take turns, so that each pair is of the same minute. What is measured is what
people notice: the slowest hundredth of the answers to /ping, and how long /healthz takes. No lease may be lost.
"""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.ping import BOTCTL, WARM_UP, BenchProject, load
from bench.rounds import Threshold, report
from botctl.core.processes.runtime import Runtime
from botctl.sandbox.console.client import Identity, SandboxClient
from botctl.sandbox.console.command_parser import SlashCall

CLIENTS = Path(__file__).parent / "flood_clients.py"
CONNECTIONS, FRAMES_PER_S = 200, 2_000
PHASE_S = 20.0
USERS, PAUSE_S = 4, 0.05  # about 60 commands a second
HEALTH_PAUSE_S = 0.1
READY, STARTED = "Try, in another terminal", "  logs  "


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[math.ceil(share * len(values)) - 1]


async def use(root: Path) -> dict[str, float]:
    """Use /ping and request /healthz for `PHASE_S`; return milliseconds."""
    live = Runtime(root).live()
    healthz = live["realtime"].address.replace("ws://", "http://").removesuffix("/realtime") + "/healthz"
    end_s = time.perf_counter() + PHASE_S
    pings: list[float] = []
    checks: list[float] = []

    async def user(client: SandboxClient) -> None:
        while time.perf_counter() < end_s:
            began_s = time.perf_counter()
            reply = await client.send(SlashCall("ping", {}), Identity())
            pings.append((time.perf_counter() - began_s) * 1000)
            if not reply.answered:
                raise SystemExit(f"not answered: {reply}")
            await asyncio.sleep(PAUSE_S)

    async def probe() -> None:
        while time.perf_counter() < end_s:
            began_s = time.perf_counter()
            await asyncio.to_thread(_get, healthz)
            checks.append((time.perf_counter() - began_s) * 1000)
            await asyncio.sleep(HEALTH_PAUSE_S)

    async with SandboxClient(live["sandbox"].address, live["sandbox"].secret or "") as client:
        await asyncio.gather(*(user(client) for _ in range(USERS)), probe())
    return {
        "ping_p50_ms": percentile(pings, 0.5),
        "ping_p99_ms": percentile(pings, 0.99),
        "healthz_ms": percentile(checks, 0.5),
        "healthz_p99_ms": percentile(checks, 0.99),
    }


def _get(url: str) -> None:
    with urllib.request.urlopen(url, timeout=60) as response:
        response.read()


def flooded(root: Path) -> tuple[dict[str, float], dict[str, int]]:
    """`use` during a flood; return also what the peers did."""
    address = Runtime(root).live()["realtime"].address
    command = (sys.executable, str(CLIENTS), address, str(CONNECTIONS), str(FRAMES_PER_S))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peers:
        time.sleep(3)  # until all are connected
        found = asyncio.run(use(root))
        counts: dict[str, int] = json.loads(peers.communicate(timeout=60)[0])
    return found, counts


def leases_lost(root: Path) -> list[str]:
    """The lines of the log that say so."""
    text = "".join(path.read_text(encoding="utf-8") for path in (root / "logs").glob("*.jsonl"))
    return [line for line in text.splitlines() if "lease" in line.lower() and "lost" in line.lower()]


@contextmanager
def one_process(project: BenchProject) -> Iterator[None]:
    """The bot, its jobs and the realtime server in one process, as by default."""
    with project.process(str(BOTCTL), "run", until=READY):
        yield


@contextmanager
def own_process(project: BenchProject) -> Iterator[None]:
    """The realtime server in a process of its own, as docs/production.md advises for a public port."""
    roles = (("stores",), ("bot", "jobs"), ("realtime",))
    with ExitStack() as stack:
        for only in roles:
            words = [word for role in only for word in ("--only", role)]
            stack.enter_context(
                project.process(str(BOTCTL), "run", *words, until=STARTED if "bot" not in only else READY)
            )
        yield


LAYOUTS = {"": one_process, "_own": own_process}
THRESHOLDS = [
    Threshold(f"flood{layout}", f"idle{layout}", value, bar)
    for layout in LAYOUTS
    for value, bar in (("ping_p99_ms", 1.5), ("healthz_ms", 3.0))
]


def main(rounds: int = 7) -> bool:
    """Measure both layouts by turns, each with a bot of its own that runs all the time."""
    measured: dict[str, list[dict[str, float]]] = {
        f"{kind}{layout}": [] for layout in LAYOUTS for kind in ("idle", "flood")
    }
    peers: list[dict[str, int]] = []
    with tempfile.TemporaryDirectory(prefix="botctl-bench-") as folder, ExitStack() as stack:
        projects = {layout: BenchProject(Path(folder) / f"flood{layout}") for layout in LAYOUTS}
        for layout, project in projects.items():
            stack.enter_context(LAYOUTS[layout](project))
            sandbox = Runtime(project.root).live()["sandbox"]
            asyncio.run(load(sandbox.address, sandbox.secret or "", WARM_UP))
        for number in range(rounds):
            for layout, project in projects.items():
                measured[f"idle{layout}"].append(asyncio.run(use(project.root)))
                found, counts = flooded(project.root)
                measured[f"flood{layout}"].append(found)
                peers.append(counts)
                idle = measured[f"idle{layout}"][-1]
                print(f"  round {number + 1}/{rounds}{layout}  {idle}  {found}  {counts}", file=sys.stderr)
        lost = [line for project in projects.values() for line in leases_lost(project.root)]
    passed = report("flood", measured, THRESHOLDS, peers=peers, leases_lost=lost)
    print(f"  leases lost: {len(lost)} (none may be)")
    return passed and not lost


if __name__ == "__main__":
    sys.exit(not main(*map(int, sys.argv[1:])))

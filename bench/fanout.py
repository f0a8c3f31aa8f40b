"""One message to 500 clients in another process: the whole realtime server against `websockets.broadcast` and
python-socketio, on the same messages of 200 bytes, with one message in each turn of the loop and with ten.

The measure is the server's CPU time per delivery (kernel and all): a server that needs half of it delivers twice as
much, so 0.9 of the rate is 1.11 of the time. All run on uvloop. The messages come in short bursts, so that no client
falls behind and nothing is dropped.
"""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from bench.peers import peers_python
from bench.ping import BOTCTL, ROOT, BenchProject
from bench.rounds import Measured, Threshold, interleave, ratio, report
from botctl.core.processes.process import child_environment

HERE = Path(__file__).parent
CLIENTS = 500
MESSAGE_BYTES = 200
TICKS = {1: (12, 20), 10: (10, 5)}  # messages in each turn: bursts, and turns in each
KINDS = ("broadcast", "socketio", "hub", "valkey", "push", "write")
THRESHOLDS = [
    Threshold("hub", "broadcast", "cpu_us_1", 1.11),
    Threshold("hub", "broadcast", "cpu_us_10", 0.25),
    Threshold("hub", "socketio", "cpu_us_1", 0.2),
    Threshold("hub", "socketio", "cpu_us_10", 0.2),
]
ROOMY = {
    "BOTCTL_REALTIME__CONNECTIONS_PER_ADDRESS": "1000",
    "BOTCTL_REALTIME__CONNECTIONS_PER_KEY": "1000",
    "BOTCTL_REALTIME__CONNECT_THROTTLE": "100000/1m per address",
    "BOTCTL_REALTIME__MESSAGE_THROTTLE": "100000/1s per key",
    "BOTCTL_REALTIME__HEARTBEAT_S": "300",  # the clients answer no pings
}


class Child:
    """A process that answers lines."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()):
            raise SystemExit(f"a process of the benchmark ended: {self.process.args}")
        return line

    @classmethod
    @contextlib.contextmanager
    def running(cls, *command: str | Path) -> Iterator[Child]:
        env = {**child_environment(), **ROOMY, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [*map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        try:
            yield cls(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def message() -> str:
    """JSON of `MESSAGE_BYTES` bytes, with the byte that the clients count once."""
    fields = {"type": "command.finished", "id": "0123456789", "at": 1_790_000_000.25, "data": {"text": "^"}}
    return json.dumps(fields | {"data": {"text": "^" + "x" * (MESSAGE_BYTES - len(json.dumps(fields)))}})


def measure(kind: str, project: Path) -> dict[str, float]:
    """Measure CPU microseconds per delivery, and deliveries per second, for each number of messages in a turn."""
    server_command: list[str | Path] = [sys.executable, HERE / "fanout_server.py", kind, project]
    if kind == "socketio":
        server_command = [peers_python(), HERE / "fanout_socketio.py"]
    protocol = kind if kind in ("broadcast", "socketio") else "botctl"
    with Child.running(*server_command) as server:
        about: dict[str, Any] = json.loads(server.answer())
        client_command = (sys.executable, HERE / "fanout_clients.py", protocol, about["url"], about["key"] or "-")
        with Child.running(*client_command, str(CLIENTS)) as clients:
            clients.answer()
            run = Run(server, clients)
            run.bursts(1, 2, 20)  # warm up
            found: dict[str, float] = {}
            for per_tick, (bursts, ticks) in TICKS.items():
                cpu_s, wall_s, deliveries = run.bursts(per_tick, bursts, ticks)
                found[f"cpu_us_{per_tick}"] = cpu_s / deliveries * 1e6
                found[f"per_s_{per_tick}"] = deliveries / wall_s
            return found


class Run:
    """A server with its clients. ``expected``: how many messages all clients together have got."""

    def __init__(self, server: Child, clients: Child) -> None:
        self.server = server
        self.clients = clients
        self.expected = 0

    def bursts(self, per_tick: int, count: int, ticks: int) -> tuple[float, float, int]:
        """Send, and check that every client got every message once. Returns CPU and wall seconds, and deliveries."""
        before, cpu_s, began_s = self.expected, self._send(0, 0), time.perf_counter()
        for _ in range(count):
            self.expected += ticks * per_tick * CLIENTS
            self.clients.tell(str(self.expected))
            self._send(ticks, per_tick)
            if (got := int(self.clients.answer())) != self.expected:
                raise SystemExit(f"{got} messages of {self.expected} were delivered")
        wall_s = time.perf_counter() - began_s
        return self._send(0, 0) - cpu_s, wall_s, self.expected - before

    def _send(self, ticks: int, per_tick: int) -> float:
        self.server.tell(json.dumps({"ticks": ticks, "per_tick": per_tick, "message": message()}))
        return float(json.loads(self.server.answer())["cpu_s"])


def _costs(measured: Measured) -> dict[str, float]:
    """What recovery (the log and positions) and the protection against slow clients cost, as ratios of CPU time."""
    costs = {}
    for per_tick in TICKS:
        for name, ours, without in (("recovery", "hub", "push"), ("slow_clients", "push", "write")):
            threshold = Threshold(ours, without, f"cpu_us_{per_tick}", math.inf)
            costs[f"{name}_{per_tick}"] = round(ratio(measured, threshold), 3)
    return costs


def main(rounds: int = 5) -> bool:
    """Measure, with the embedded stores in their own process."""
    with tempfile.TemporaryDirectory(prefix="botctl-bench-") as folder:
        project = BenchProject(Path(folder) / "fanout")
        with project.process(str(BOTCTL), "run", "--only", "stores", until="project"):
            measured = interleave({kind: partial(measure, kind, project.root) for kind in KINDS}, rounds)
    costs = _costs(measured)
    passed = report("fanout", measured, THRESHOLDS, clients=CLIENTS, message_bytes=MESSAGE_BYTES, costs=costs)
    for name, cost in costs.items():
        print(f"  {name}: {cost}")
    return passed


if __name__ == "__main__":
    sys.exit(not main(*map(int, sys.argv[1:])))

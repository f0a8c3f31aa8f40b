"""The sandbox under load: /ping with a bare disnake bot, READY with many guilds and members, 16 shards, memory.

The measure of /ping is CPU time: sandbox and client run at the same time, so their ratio holds on any machine. The
users run in the sandbox's process (bench/sandbox_server.py) and send a command as soon as the last is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from bench.rounds import Measured, Threshold, report
from botctl.core.processes.process import child_environment

HERE = Path(__file__).parent
TOKEN = "bench"
WARM_UP, COMMANDS, OUTSTANDING = 500, 5000, 20
GUILDS, MEMBERS, SHARDS = 50, 1000, 16
INTENTS = (1 << 0) | (1 << 1) | (1 << 9)  # guilds, members, messages
INTERACTIONS, STEP = 100_000, 10_000
WARM = 40_000  # interactions until the sandbox's tables have their full size
READY_MAX_S, SLOPE_MAX_KB = 1.0, 0.01
THRESHOLDS = [Threshold("sandbox", "bare disnake", "cpu_ms", 1.0)]
Json = dict[str, Any]


@dataclass
class Server:
    """A running bench/sandbox_server.py."""

    child: subprocess.Popen[str]
    url: str

    def request(self, **fields: int) -> Json:
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps(fields) + "\n")
        self.child.stdin.flush()
        return self._read()

    def _read(self) -> Json:
        assert self.child.stdout is not None
        response: Json = json.loads(self.child.stdout.readline())
        return response

    @classmethod
    @contextlib.contextmanager
    def running(cls, guilds: int = 0, members: int = 0) -> Iterator[Server]:
        command = (sys.executable, str(HERE / "sandbox_server.py"), str(guilds), str(members))
        with _child(*command, stdin=subprocess.PIPE) as child:
            server = cls(child, "")
            server.url = server._read()["url"]
            yield server
            assert child.stdin is not None
            child.stdin.close()
            child.wait(30)


@contextlib.contextmanager
def _child(*command: str, stdin: int | None = None) -> Iterator[subprocess.Popen[str]]:
    env = {**child_environment(), "BOTCTL_SANDBOX_TOKEN": TOKEN, "PYTHONPATH": str(HERE.parent)}
    child = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, text=True, env=env)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
        child.wait(30)


def run_child(*command: str) -> str:
    """Run ``command`` to its end; return the first line that it prints."""
    with _child(*command) as child:
        assert child.stdout is not None
        return child.stdout.readline()


@contextlib.contextmanager
def bot(server: Server) -> Iterator[psutil.Process]:
    """Start a bare disnake bot and wait until it is ready."""
    with _child(sys.executable, str(HERE / "bare_bot.py"), server.url) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield psutil.Process(child.pid)


def ping() -> tuple[dict[str, float], dict[str, float]]:
    """Measure the CPU time of sandbox and client for the same /ping commands."""
    with Server.running() as server, bot(server) as client:
        server.request(ping=WARM_UP, outstanding=OUTSTANDING)
        both = psutil.Process(server.child.pid), client
        before = [_cpu_s(process) for process in both]
        seconds = server.request(ping=COMMANDS, outstanding=OUTSTANDING)["seconds"]
        spent = [_cpu_s(process) - start_s for process, start_s in zip(both, before, strict=True)]
    rate = COMMANDS / seconds
    ours, theirs = ({"cpu_ms": cpu_s * 1000 / COMMANDS, "per_s": rate} for cpu_s in spent)
    return ours, theirs


def slope() -> tuple[float, list[int]]:
    """Measure kilobytes of memory per interaction after the warm-up; return also the sizes."""
    with Server.running() as server, bot(server):
        process = psutil.Process(server.child.pid)
        sizes = []
        for _ in range(INTERACTIONS // STEP):
            server.request(ping=STEP, outstanding=OUTSTANDING)
            sizes.append(process.memory_info().rss // 1024)
    warm = list(enumerate(sizes))[WARM // STEP :]
    rises = [(size - was) / (at - before) for (before, was), (at, size) in itertools.combinations(warm, 2)]
    return statistics.median(rises) / STEP, sizes  # Theil-Sen: ignores a single new page


async def _session(url: str, shard: tuple[int, int]) -> int:
    """IDENTIFY, wait for the guilds, request their members; return the number of members."""
    seen = 0
    async with aiohttp.ClientSession() as http, http.ws_connect(url + "/?v=10&encoding=json", max_msg_size=0) as socket:
        await socket.receive_json()
        await socket.send_json(
            {"op": 2, "d": {"token": TOKEN, "properties": {}, "intents": INTENTS, "shard": list(shard)}}
        )
        ready = await socket.receive_json()
        left = len(ready["d"]["guilds"])
        while left:
            payload = await socket.receive_json()
            if payload["t"] == "GUILD_CREATE":
                await socket.send_json(
                    {"op": 8, "d": {"guild_id": payload["d"]["id"], "query": "", "limit": 0, "nonce": "n"}}
                )
            elif payload["t"] == "GUILD_MEMBERS_CHUNK":
                seen += len(payload["d"]["members"])
                left -= payload["d"]["chunk_index"] + 1 == payload["d"]["chunk_count"]
    return seen


def ready(shards: int) -> float:
    """Measure the seconds until all members of all guilds are received, over ``shards`` sessions."""

    async def count_members(url: str) -> int:
        return sum(await asyncio.gather(*(_session(url, (number, shards)) for number in range(shards))))

    with Server.running(GUILDS, MEMBERS) as server:
        began_s = time.perf_counter()
        seen = asyncio.run(count_members(server.url))
        took_s = time.perf_counter() - began_s
    if seen < GUILDS * MEMBERS:
        raise SystemExit(f"{seen} members seen of {GUILDS * MEMBERS}")
    return took_s


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def main(rounds: int = 5) -> bool:
    """Measure; return whether every threshold holds."""
    measured: dict[str, list[dict[str, float]]] = {"sandbox": [], "bare disnake": []}
    times: dict[str, list[float]] = {"one": [], "many": []}
    for _ in range(rounds):
        for name, found in zip(measured, ping(), strict=True):
            measured[name].append(found)
        times["one"].append(ready(1))
        times["many"].append(ready(SHARDS))
    rise_kb, sizes = slope()
    return _report(measured, times, rise_kb, sizes)


def _report(measured: Measured, times: dict[str, list[float]], rise_kb: float, sizes: list[int]) -> bool:
    passed = report("sandbox", measured, THRESHOLDS, ready_s=times, memory_kb=sizes, memory_kb_per_interaction=rise_kb)
    one, many = (statistics.median(times[name]) for name in ("one", "many"))
    print(f"  {GUILDS} guilds of {MEMBERS} members: {one:.2f} s, over {SHARDS} shards {many:.2f} s (at most 1 s)")
    print(f"  memory: {rise_kb * 1000:.2f} bytes per interaction after {WARM:,} of {INTERACTIONS:,} (at most 10)")
    return passed and one <= READY_MAX_S and many <= READY_MAX_S and rise_kb <= SLOPE_MAX_KB


if __name__ == "__main__":
    sys.exit(not main())

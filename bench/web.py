"""What sessions and open pages cost: a request with a session, 10,000 sessions in Redis, 50 pages beside the bot.

- The same handler (it reads a page of the audit log) with and without a session: CPU of the server and of Redis.
- The growth of Redis's memory by 10,000 sessions as they are after a sign-in, in bytes.
- CPU of the bot's process for a /ping while no page is open, and while 50 are: connections of the realtime server, in a
  process of its own, that watch and subscribe to what the room State does.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import psutil
from redis import Redis

from bench.ping import BOTCTL, BenchProject
from bench.rounds import Threshold, interleave, report
from botctl.client import RealtimeClient
from botctl.core.clock import SystemClock
from botctl.core.config.loading import load
from botctl.core.contracts.sessions import Session, SessionSource, new_session_id
from botctl.core.processes.runtime import Runtime
from botctl.run.oneshot.sessions import open_sessions

WARM_UP, REQUESTS, SESSIONS, PAGES = 100, 1_500, 10_000, 50
STATES, TOPICS = ("processes", "services", "shards", "counts"), ("commands", "services", "gateway", "jobs", "system")
THRESHOLDS = [Threshold("session", "no session", "cpu_ms", 1.3)]
PAGE_THRESHOLDS = [Threshold("50 pages", "no page", "cpu_ms", 1.1)]
MEMORY_BAR = 20_000_000  # bytes, of 10,000 sessions


def new_session(number: int, *, role: str = "") -> Session:
    """A session as after a sign-in with Discord, with the roles of two guilds; or of a link with ``role``."""
    now = SystemClock().now()
    return Session(
        id=new_session_id(),
        source=SessionSource.LINK if role else SessionSource.DISCORD,
        created_at=now,
        seen_at=now,
        expires_at=now + timedelta(days=7),
        user="" if role else str(900_000_000_000_000_000 + number),
        name="" if role else f"person{number}",
        role=role,
        checked_at=None if role else now,
        member_roles={}
        if role
        else {str(guild): frozenset({str(guild + 1), str(guild + 2)}) for guild in (10**17, 10**18)},
        rights="0" * 32,
        csrf="c" * 43,
        address="203.0.113.7",
        user_agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    )


async def create_sessions(root: Path, sessions: list[Session]) -> list[str]:
    async with open_sessions(load(root, None, os.environ, {})) as store:
        return [await store.create(session) for session in sessions]


class WebBench:
    """The project, its Redis, and the server of bench/web_server.py."""

    def __init__(self, project: BenchProject) -> None:
        self.project = project
        self.redis = Runtime(project.root).live()["redis"]
        self.server_pid = 0  # while `serving`
        self.cookie = ""

    @contextlib.contextmanager
    def serving(self) -> Iterator[tuple[int, psutil.Process]]:
        command = (sys.executable, "-m", "bench.web_server", str(self.project.root))
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout
            yield int(child.stdout.readline()), psutil.Process(child.pid)
            child.communicate()

    def request(self, port: int, path: str) -> dict[str, float]:
        """Measure requests of ``path``, one after another on one connection; both paths get the cookie."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        name = f"botctl-{self.project.root.name}-session"

        def get() -> None:
            connection.request("GET", path, headers={"Cookie": f"{name}={self.cookie}"})
            with connection.getresponse() as response:
                response.read()
                if response.status != 200:
                    raise SystemExit(f"{path}: {response.status}")
                if (new := response.getheader("Set-Cookie")) is not None:  # its rights are known now
                    self.cookie = new.partition("=")[2].partition(";")[0]

        for _ in range(WARM_UP):
            get()
        watched = [psutil.Process(pid) for pid in (self.server_pid, self.redis.pid)]
        before_s = sum(_cpu_s(process) for process in watched)
        for _ in range(REQUESTS):
            get()
        spent_s = sum(_cpu_s(process) for process in watched) - before_s
        connection.close()
        return {"cpu_ms": spent_s * 1000 / REQUESTS}

    def measure(self, rounds: int) -> bool:
        self.cookie = asyncio.run(create_sessions(self.project.root, [new_session(0, role="operator")]))[0]
        with self.serving() as (port, process):
            self.server_pid = process.pid
            contenders = {
                "no session": partial(self.request, port, "/without"),
                "session": partial(self.request, port, "/with"),
            }
            measured = interleave(contenders, rounds)
        return report("web_session", measured, THRESHOLDS, requests=REQUESTS)

    def memory(self) -> bool:
        """The growth by `SESSIONS` sessions."""
        with Redis.from_url(self.redis.address) as redis:
            before = redis.info("memory")["used_memory"]
            asyncio.run(create_sessions(self.project.root, [new_session(number) for number in range(SESSIONS)]))
            grown = redis.info("memory")["used_memory"] - before
        holds = grown <= MEMORY_BAR
        print(f"\n{SESSIONS:,} sessions: {grown / 1e6:.1f} MB in Redis (at most 20: {'holds' if holds else 'MISSED'})")
        return report("web_memory", {"sessions": [{"bytes": float(grown)}]}, [], sessions=SESSIONS) and holds


async def hold_pages(url: str, key: str, count: int) -> None:
    """Keep ``count`` pages open until the process ends; print a line when they are."""

    async def read(client: RealtimeClient) -> None:
        async for _ in client.events(*TOPICS):
            pass

    async def watch(client: RealtimeClient, state: str) -> None:
        async for _ in client.watch(state):
            pass

    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(RealtimeClient(url, key)) for _ in range(count)]
        jobs = [asyncio.create_task(watch(client, state)) for client in clients for state in STATES]
        jobs += [asyncio.create_task(read(client)) for client in clients]
        print("open", flush=True)
        await asyncio.gather(*jobs)


def pages(project: BenchProject, rounds: int) -> bool:
    """Measure a /ping of the bot without and with open pages; both in one run of the bot."""
    with (
        project.process(str(BOTCTL), "run", "--only", "bot", until="Try, in another terminal") as bot,
        _realtime(project) as (url, key),
    ):

        def with_pages() -> dict[str, float]:
            command = (sys.executable, "-m", "bench.web", "hold", url, key, str(PAGES))
            with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
                if not (holder.stdout and holder.stdout.readline()):
                    raise SystemExit("the pages could not be opened")
                result = project.measure(bot)
                holder.kill()
            return result

        measured = interleave({"no page": partial(project.measure, bot), "50 pages": with_pages}, rounds)
    return report("web_pages", measured, PAGE_THRESHOLDS, pages=PAGES)


@contextlib.contextmanager
def _realtime(project: BenchProject) -> Iterator[tuple[str, str]]:
    """A realtime server in a process of its own: its address, and a key."""
    log = project.root / "realtime.txt"
    with log.open("wb") as out:
        command = (str(BOTCTL), "run", "--only", "realtime")
        child = subprocess.Popen(command, cwd=project.root, env=project.env, stdout=out, stderr=subprocess.STDOUT)
    try:
        while (part := Runtime(project.root).live().get("realtime")) is None:
            if child.poll() is not None:
                raise SystemExit(log.read_text(encoding="utf-8"))
        create = (str(BOTCTL), "auth", "key", "create", "bench", "--permissions", "*")
        made = subprocess.run(create, cwd=project.root, env=project.env, check=True, stdout=subprocess.PIPE, text=True)
        yield part.address, made.stdout.strip()
    finally:
        child.terminate()
        child.wait(60)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def main(rounds: int = 7) -> bool:
    """Measure, with the stores and the sandbox in their own process."""
    with tempfile.TemporaryDirectory(prefix="botctl-bench-") as folder:
        project = BenchProject(Path(folder) / "web")
        with project.process(str(BOTCTL), "run", "--only", "stores", until="project"):
            bench = WebBench(project)
            return all([bench.measure(rounds), bench.memory(), pages(project, max(5, rounds - 2))])


if __name__ == "__main__":
    if sys.argv[1:2] == ["hold"]:
        asyncio.run(hold_pages(sys.argv[2], sys.argv[3], int(sys.argv[4])))
    sys.exit(not main(*map(int, sys.argv[1:])))

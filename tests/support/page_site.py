"""A bot with its page on real processes, and people who use it in a real browser."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from playwright.sync_api import Browser
from redis import Redis

from botctl.core.clock import SystemClock, iso_ms
from botctl.core.processes.runtime import Runtime
from botctl.monitor.snapshot import EVERY_S, TTL_MS, ShardSnapshot, Snapshot, as_json, key, set_key
from tests.support.browser import Guest, chromium, guest, running_browser
from tests.support.cli import READY, Process, Project
from tests.support.waiting import LIMIT_S, wait_for

ANN, BOB, CAT = "900000000000000101", "900000000000000102", "900000000000000103"
GUILD = "900000000000000001"
_SETTINGS = """
[roles.owner]
users = ["{ann}"]
permissions = ["owner"]

[roles.auditor]
users = ["{bob}"]
guild = "{guild}"
permissions = ["audit:read"]

[realtime]
port = {port}
drain_s = 0.5
"""


@dataclass
class Site:
    """A running bot with its page, and the browser. ann is its owner, bob may read the audit log of one guild."""

    project: Project
    browser: Browser
    url: str
    realtime: Process
    stack: ExitStack
    _shared: dict[str, Guest] = field(default_factory=dict)

    @contextmanager
    def shared(self, name: str = "") -> Iterator[Guest]:
        """The browser of ``name``, or of someone who is not signed in.

        All tests that use this share it, because a browser costs a second; it is wherever the last one left it.
        """
        if name not in self._shared:
            self._shared[name] = self.stack.enter_context(guest(self.browser, self.url))
            if name:
                self._shared[name].sign_in(name)
        visitor = self._shared[name]
        yield visitor
        visitor.page.unroute_all()
        assert visitor.faults == []

    @contextmanager
    def ann_elsewhere(self, **options: Any) -> Iterator[Guest]:
        """Another window of ann, with ``options`` of a browser context."""
        if "ann" not in self._shared:
            with self.shared("ann"):
                pass
        cookies = self._shared["ann"].context.storage_state()
        with guest(self.browser, self.url, storage_state=cookies, **options) as visitor:
            yield visitor

    @contextmanager
    def person(self, name: str, **options: Any) -> Iterator[Guest]:
        """A browser of its own with ``options``, in which ``name`` signs in."""
        with guest(self.browser, self.url, **options) as visitor:
            visitor.sign_in(name)
            yield visitor

    @property
    def bot(self) -> str:
        """The name of the bot."""
        return self.project.root.name

    def call(self, *words: str) -> str:
        done = self.project.call(*words)
        assert done.code == 0, done.err
        return done.out

    def add_member(self, name: str) -> str:
        """Add a person to the guild of the sandbox; return the id."""
        return str(self._sandbox("world", {"add_member": {"name": name}})["add_member"]["id"])

    def command(self, name: str, user: str, **options: str) -> None:
        """Use a slash command as ``user``, a name or an id; the bot has answered when this returns."""
        self._sandbox("send", {"type": "slash", "name": name, "options": options, "as": user, "timeout_s": LIMIT_S})

    def _sandbox(self, endpoint: str, body: dict[str, Any]) -> Any:
        sandbox = Runtime(self.project.root).live()["sandbox"]
        headers = {"Authorization": f"Bearer {sandbox.secret}", "Content-Type": "application/json"}
        request = Request(f"{sandbox.address}/_control/{endpoint}", json.dumps(body).encode(), headers)
        with urlopen(request, timeout=LIMIT_S) as response:
            return json.load(response)

    def kill_realtime(self) -> None:
        self.realtime.signal(signal.SIGKILL)
        self.realtime.wait_for_exit()
        self._forget(self.realtime.pid)

    def _forget(self, pid: int) -> None:
        """Delete the last snapshot of a killed process. All is not well as long as it is there, which is a minute."""
        with Redis.from_url(Runtime(self.project.root).live()["redis"].address) as redis:
            assert redis.delete(*redis.keys(f"*:{pid}")) == 1

    def start_realtime(self) -> None:
        """Start it again, and wait until the page server names its address in the policy of the page."""
        self.realtime = self.stack.enter_context(self.project.run("--only", "realtime"))
        wait_for(lambda: "ws://" in self.policy(), what="the realtime server in the policy")

    @contextmanager
    def process_elsewhere(self, *shards: ShardSnapshot, **more: Any) -> Iterator[None]:
        """A snapshot of a process on another host, with ``shards``, until the block ends."""
        started, now = "2026-01-01T00:00:00.000Z", iso_ms(SystemClock().now())
        numbers = {"uptime_s": 1.0, "rss_bytes": 1, "cpu_percent": 0.0, "lag_ms": 0.0}
        place = {"bot": "bot", "host": "other", "pid": 7, "version": "0", "at": now, "started": started}
        snapshot = Snapshot(**place, **numbers, shards=shards, **more)  # type: ignore[arg-type]
        ended = threading.Event()

        def write() -> None:
            with Redis.from_url(Runtime(self.project.root).live()["redis"].address) as redis:
                while not ended.is_set():
                    redis.set(key("bot", snapshot.proc), as_json(snapshot), px=TTL_MS)
                    redis.sadd(set_key("bot"), snapshot.proc)
                    ended.wait(EVERY_S)
                redis.delete(key("bot", snapshot.proc))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            yield
        finally:
            ended.set()
            writer.join()

    def policy(self) -> str:
        """The content security policy of the page."""
        with urlopen(self.url, timeout=LIMIT_S) as response:
            return str(response.headers["Content-Security-Policy"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """A new bot in ``folder`` with its page, and a realtime server in a process of its own."""
    chromium()  # before anything starts
    with ExitStack() as stack:
        project = Project(folder)
        project.add_settings(_SETTINGS.format(ann=ANN, bob=BOB, guild=GUILD, port=free_port()))
        bot = stack.enter_context(project.process("run", "--only", "bot", "--only", "jobs", "--only", "web"))
        browser = stack.enter_context(running_browser())  # while the bot starts
        bot.wait_for_output(READY)
        realtime = stack.enter_context(project.run("--only", "realtime"))
        site = Site(project, browser, Runtime(project.root).live()["web"].address, realtime, stack)
        wait_for(lambda: "ws://" in site.policy(), what="the realtime server in the policy")
        yield site

"""A bot with its page on real processes, and people who use it in a real browser."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from playwright.sync_api import Browser

from botctl.core.processes.runtime import Runtime
from tests.support.browser import Guest, guest, running_browser
from tests.support.cli import Process, Project
from tests.support.waiting import LIMIT_S

ANN, BOB, CAT = "900000000000000101", "900000000000000102", "900000000000000103"
_SETTINGS = """
[roles.owner]
users = ["{ann}"]
permissions = ["owner"]

[realtime]
port = {port}
drain_s = 0.5
"""


@dataclass
class Site:
    """A running bot with its page, and the browser. ``states``: the cookies of people who have signed in."""

    project: Project
    browser: Browser
    url: str
    realtime: Process
    stack: ExitStack
    states: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def as_person(self, name: str, **options: Any) -> Iterator[Guest]:
        """A browser in which ``name`` is signed in."""
        if name not in self.states:
            with guest(self.browser, self.url) as first:
                first.sign_in(name)
                self.states[name] = first.context.storage_state()
        with guest(self.browser, self.url, storage_state=self.states[name], **options) as visitor:
            yield visitor

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

    def start_realtime(self) -> None:
        self.realtime = self.stack.enter_context(self.project.run("--only", "realtime"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """A new bot in ``folder`` with its page, and a realtime server of its own; ann is its owner."""
    with ExitStack() as stack:
        browser = stack.enter_context(running_browser())
        project = Project(folder)
        project.add_settings(_SETTINGS.format(ann=ANN, port=free_port()))
        stack.enter_context(project.run("--only", "bot", "--only", "jobs", "--only", "web"))
        realtime = stack.enter_context(project.run("--only", "realtime"))
        yield Site(project, browser, Runtime(project.root).live()["web"].address, realtime, stack)

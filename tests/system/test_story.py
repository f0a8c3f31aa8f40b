"""The whole story on real sockets: PM2, a bot, people, a limit, the monitor, the audit log, a websocket, a kill -9."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from websockets.asyncio.client import ClientConnection, connect

from botctl.core.errors import BotctlError
from botctl.core.processes.runtime import Runtime
from botctl.sandbox.console.client import Identity, SandboxClient
from botctl.sandbox.console.command_parser import SlashCall
from tests.support.cli import Project
from tests.support.pm2_daemon import Pm2, running
from tests.support.waiting import until

CONFIG = """
const [app] = require("%s/ecosystem.config.js").apps;
const only = (role) => ({ ...app, name: role, args: [...app.args, "--only", role], restart_delay: 100 });
module.exports = { apps: %s.map(only) };
"""


class Listener:
    """A dashboard somewhere: what it was told, in the order in which it came."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []

    async def open(self, key: str) -> None:
        await self.ask({"id": 1, "type": "auth", "key": key})
        await self.ask({"id": 2, "type": "subscribe", "topics": ["commands"]})

    async def ask(self, message: dict[str, Any]) -> None:
        await self.socket.send(json.dumps(message))
        while (reply := await self.told()).get("id") != message["id"]:
            pass
        assert "error" not in reply, reply

    async def told(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await asyncio.wait_for(self.socket.recv(), 20))
        if message.get("type") == "event":
            self.events.append(message)
        return message

    async def hear(self, count: int) -> list[dict[str, Any]]:
        """The events so far, as soon as there are ``count`` of them."""
        while len(self.events) < count:
            await self.told()
        return self.events


def start(pm2: Pm2, project: Project, *roles: str) -> None:
    """Start these roles of the project as apps of their own; returns when all of them are ready."""
    config = pm2.home / f"{'-'.join(roles)}.config.js"
    config.write_text(CONFIG % (project.root, json.dumps(roles)))
    pm2.call("start", str(config))


async def roll_six_times(people: SandboxClient, name: str) -> Counter[bool]:
    """Six rolls at once: True for each that was rolled."""
    rolls = [people.send(SlashCall("roll"), Identity(name=name)) for _ in range(6)]
    replies = await asyncio.gather(*rolls)
    assert all(reply.answered for reply in replies), replies
    return Counter("rolled" in reply.messages[-1].content for reply in replies)


async def test_the_whole_story(tmp_path: Path) -> None:
    """Each of the verbs sees the same bot live, be killed, and live again."""
    project = Project(tmp_path / "bot")
    with running() as pm2:
        start(pm2, project, "stores")
        start(pm2, project, "bot", "realtime")
        parts = Runtime(project.root).live()
        key = project.call("auth", "key", "create", "story", "--topics", "commands", "--json").json["key"]
        async with (
            SandboxClient(parts["sandbox"].address, parts["sandbox"].secret or "") as people,
            connect(parts["realtime"].address) as socket,
        ):
            listener = Listener(socket)
            await listener.open(key)
            assert await roll_six_times(people, "cat") == {True: 5, False: 1}
            heard = await listener.hear(6)
            assert Counter(one["event"]["data"]["result"] for one in heard) == {"ok": 5, "throttled": 1}

            seen = await monitored(project, lambda seen: seen["totals"]["total"] == 6)
            first = pid_of_bot(seen)
            assert seen["totals"]["throttled"] == 1
            assert len(seen["processes"]) == 3
            rolled = project.call("audit", "log", "--action", "command.roll", "--outcome", "success", "--json").json
            assert [entry["actor"]["name"] for entry in rolled] == ["cat"] * 5

            assert first is not None
            psutil.Process(first).send_signal(signal.SIGKILL)
            await until(lambda: answers(people), what="the bot to be back", limit_s=30)
            await monitored(project, lambda seen: pid_of_bot(seen) not in {first, None})
            assert await roll_six_times(people, "bob") == {True: 5, False: 1}
            while not {"ok", "throttled"} <= {one["event"]["data"]["result"] for one in heard[6:]}:
                await listener.told()
            offsets = [one["offset"] for one in heard]
            assert offsets == list(range(offsets[0], offsets[0] + len(offsets))), "something was lost or doubled"
        pm2.call("stop", "bot")
        refused = project.call("audit", "log", "--outcome", "denied", "--json").json
        assert [(entry["actor"]["name"], entry["action"]) for entry in refused] == [("bob", "command.roll")]
        starts = project.call("audit", "log", "--action", "run.*", "--json").json
        assert Counter(entry["action"] for entry in starts) == {"run.start": 4, "run.stop": 1}
        pm2.call("stop", "all")
    assert project.parts() == {}


async def answers(people: SandboxClient) -> bool:
    """Whether a bot answers."""
    try:
        return (await people.send(SlashCall("ping"), Identity())).answered
    except BotctlError:  # no bot is connected yet
        return False


async def monitored(project: Project, shows: Callable[[Any], bool]) -> Any:
    """What the monitor sees, once it ``shows`` what is meant: the picture is at most a second old."""
    found: list[Any] = []

    def seen() -> bool:
        found.append(project.call("monitor", "--once", "--json").json)
        return shows(found[-1])

    await until(seen, limit_s=20, what="the picture of the monitor")
    return found[-1]


def pid_of_bot(seen: Any) -> int | None:
    """The process that is the bot and lives, in what the monitor sees; None while there is none."""
    alive = [one for one in seen["processes"] if "bot" in one["roles"] and one["presence"] == "up"]
    assert len(alive) <= 1
    return int(alive[0]["proc"].rpartition(":")[2]) if alive else None

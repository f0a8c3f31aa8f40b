"""All verbs with one bot: PM2, users, a rate limit, the monitor, the audit log, the realtime server, SIGKILL."""

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
from tests.support.pm2_daemon import Pm2, running_pm2
from tests.support.waiting import LIMIT_S, until

CONFIG = """
const [app] = require("%s/ecosystem.config.js").apps;
const only = (role) => ({ ...app, name: role, args: [...app.args, "--only", role], restart_delay: 100 });
module.exports = { apps: %s.map(only) };
"""


class Listener:
    """A client of the realtime server. ``events`` are in the order of their arrival."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []

    async def subscribe(self, key: str) -> None:
        await self.request({"id": 1, "type": "auth", "key": key})
        await self.request({"id": 2, "type": "subscribe", "topics": ["commands"]})

    async def request(self, message: dict[str, Any]) -> None:
        await self.socket.send(json.dumps(message))
        while (reply := await self.receive()).get("id") != message["id"]:
            pass
        assert "error" not in reply, reply

    async def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await asyncio.wait_for(self.socket.recv(), LIMIT_S))
        if message.get("type") == "event":
            self.events.append(message)
        return message

    async def receive_events(self, count: int) -> list[dict[str, Any]]:
        """Wait for ``count`` events; returns all events so far."""
        while len(self.events) < count:
            await self.receive()
        return self.events


def start(pm2: Pm2, project: Project, *roles: str) -> None:
    """Start one app for each role, and wait until all are ready."""
    config = pm2.home / f"{'-'.join(roles)}.config.js"
    config.write_text(CONFIG % (project.root, json.dumps(roles)))
    pm2.call("start", str(config))


async def roll_six_times(people: SandboxClient, name: str) -> Counter[bool]:
    """Send six rolls at once; counts the successful (True) and throttled (False) ones."""
    rolls = [people.send(SlashCall("roll"), Identity(name=name), timeout_s=LIMIT_S) for _ in range(6)]
    replies = await asyncio.gather(*rolls)
    assert all(reply.answered for reply in replies), replies
    return Counter("rolled" in reply.messages[-1].content for reply in replies)


async def test_all_verbs_agree_about_one_bot(tmp_path: Path) -> None:
    """The bot runs, is killed, and runs again."""
    project = Project(tmp_path / "bot")
    roll = (project.root / "commands" / "roll.py").read_text(encoding="utf-8")
    project.write(
        "commands/roll.py", roll.replace("5/10s per user", "5/1h per user")
    )  # no use comes back during the test
    project.add_settings(f"[sandbox.limits]\nresponse_s = {LIMIT_S}\n")
    with running_pm2() as pm2:
        start(pm2, project, "stores")
        start(pm2, project, "bot", "realtime")
        parts = Runtime(project.root).live()
        key = project.call("auth", "key", "create", "story", "--topics", "commands", "--json").json["key"]
        async with (
            SandboxClient(parts["sandbox"].address, parts["sandbox"].secret or "") as people,
            connect(parts["realtime"].address) as socket,
        ):
            listener = Listener(socket)
            await listener.subscribe(key)
            assert await roll_six_times(people, "cat") == {True: 5, False: 1}
            events = await listener.receive_events(6)
            assert Counter(event["event"]["data"]["result"] for event in events) == {"ok": 5, "throttled": 1}

            monitor = await wait_for_monitor(project, lambda monitor: monitor["totals"]["total"] == 6)
            first = pid_of_bot(monitor)
            assert monitor["totals"]["throttled"] == 1
            assert len(monitor["processes"]) == 3
            rolled = project.call("audit", "log", "--action", "command.roll", "--outcome", "success", "--json").json
            assert [entry["actor"]["name"] for entry in rolled] == ["cat"] * 5

            assert first is not None
            psutil.Process(first).send_signal(signal.SIGKILL)
            await until(lambda: bot_answers(people), what="the bot to answer again")
            await wait_for_monitor(project, lambda monitor: pid_of_bot(monitor) not in {first, None})
            assert await roll_six_times(people, "bob") == {True: 5, False: 1}
            while not {"ok", "throttled"} <= {event["event"]["data"]["result"] for event in events[6:]}:
                await listener.receive()
            offsets = [event["offset"] for event in events]
            assert offsets == list(range(offsets[0], offsets[0] + len(offsets))), "an event is missing or repeated"
        pm2.call("stop", "bot")
        refused = project.call("audit", "log", "--outcome", "denied", "--json").json
        late = [entry for entry in refused if entry["action"] == "command.ping"]  # sent while no bot ran, and replayed
        assert {entry["reason"] for entry in late} <= {"too late: Discord waits 3 s for an answer"}
        refused = [entry for entry in refused if entry not in late]
        assert {entry["action"] for entry in refused} == {"command.roll"}
        # Refusals are written when their minute ends: the killed bot may have written cat's before.
        assert [entry["actor"]["name"] for entry in refused] in (["bob"], ["cat", "bob"])
        starts = project.call("audit", "log", "--action", "run.*", "--json").json
        assert Counter(entry["action"] for entry in starts) == {"run.start": 4, "run.stop": 1}
        pm2.call("stop", "all")
    assert project.parts() == {}


async def bot_answers(people: SandboxClient) -> bool:
    try:
        return (await people.send(SlashCall("ping"), Identity())).answered
    except BotctlError:  # no bot is connected yet
        return False


async def wait_for_monitor(project: Project, condition: Callable[[Any], bool]) -> Any:
    """The monitor's JSON, as soon as it fulfils ``condition``; it is up to a second old."""
    found: list[Any] = []

    def is_fulfilled() -> bool:
        found.append(project.call("monitor", "--once", "--json").json)
        return condition(found[-1])

    await until(is_fulfilled, what="the monitor")
    return found[-1]


def pid_of_bot(monitor: Any) -> int | None:
    """The process id of the running bot in the monitor's JSON; None while there is none."""
    running = [process for process in monitor["processes"] if process["presence"] == "up" and process["alive"]]
    alive = [process for process in running if "bot" in process["roles"]]
    assert len(alive) <= 1
    return int(alive[0]["proc"].rpartition(":")[2]) if alive else None

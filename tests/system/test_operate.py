"""`botctl audit` and `botctl ratelimit` with a running bot."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from pathlib import Path

from botctl.core.processes.runtime import Runtime
from botctl.sandbox.console.client import Identity, SandboxClient
from botctl.sandbox.console.command_parser import SlashCall
from tests.support.bots import last_text
from tests.support.cli import Project
from tests.support.waiting import LIMIT_S

ONCE = '''
from botctl import Command, Context

class Once(Command):
    """Once an hour."""
    throttle = "1/1h per user"

    async def execute(self, ctx: Context) -> None:
        await ctx.reply("This once.")
'''
BOB = "900000000000000102"


def reply_to_once(project: Project) -> str:
    """The reply to bob's /once."""
    sandbox = Runtime(project.root).live()["sandbox"]

    async def send() -> str:
        async with SandboxClient(sandbox.address, sandbox.secret or "") as people:
            return last_text(await people.send(SlashCall("once", {}), Identity("bob"), timeout_s=LIMIT_S))

    return asyncio.run(send())


def test_limit_is_shown_reset_and_audited(tmp_path: Path) -> None:
    """A user is throttled, the operator shows and resets the limit, and the user may try again.

    A follower of the audit log starts before the bot, ends after it, and prints all of this.
    """
    project = Project(tmp_path / "bot")
    project.write("commands/once.py", ONCE)
    with project.process("audit", "log", "-f", "--json", "--limit", "1000", until="No `botctl run`") as following:
        with project.run() as bot:
            assert reply_to_once(project) == "This once."
            assert "try again" in reply_to_once(project)
            (status,) = project.call("ratelimit", "show", f"user:{BOB}", "--json").json
            assert (status["policy"], status["limit"], status["used"], status["left"]) == (
                "once",
                "1/1h per user",
                1,
                0,
            )
            assert 3000 < status["retry_after_s"] <= 3600
            rows = {row["policy"]: row for row in project.call("ratelimit", "list", "--json").json}
            assert (rows["once"]["limits"], rows["once"]["subjects"]) == ("1/1h per user", 1)
            assert {"8ball", "poll:vote", "ops.status"} <= set(rows)
            misspelt = project.call("ratelimit", "show", f"user:{BOB}", "--policy", "onec")
            assert (misspelt.code, "did you mean once?" in misspelt.err) == (2, True)
            reset = project.call("ratelimit", "reset", f"user:{BOB}", "--policy", "once")
            assert reset.out == f"user:{BOB}: 1 limit reset (once).\n"
            assert reply_to_once(project) == "This once."
            for action in ("run.start", "command.once", "ratelimit.reset"):
                following.wait_for_output(f'"action": "{action}"')
            bot.signal(signal.SIGTERM)
            assert bot.wait_for_exit() == 143
        following.signal(signal.SIGINT)
        assert following.wait_for_exit() == 130
    printed = list(map(json.loads, following.output.splitlines()))
    assert "No `botctl run`" in printed[0]["waiting_for"]
    entries = [line for line in printed if "waiting_for" not in line]
    assert len({entry["id"] for entry in entries}) == len(entries)
    (reset,) = [entry for entry in entries if entry["action"] == "ratelimit.reset"]
    assert (reset["actor"]["type"], reset["target"]) == ("cli", {"type": "user", "id": BOB})
    (start,) = [entry for entry in entries if entry["action"] == "run.start"]
    assert start["target"]["id"].endswith(f":{bot.pid}")

    lines = project.call("audit", "log", "--actor", "bob", "--since", "1h").out.splitlines()
    assert re.fullmatch(
        r"[\d-]+T[\d:.]+Z  denied  @bob  command\.once  denied: 1/1h per user · 1 time · #\d+.*", lines[1]
    )
    (stop,) = project.call("audit", "log", "--action", "run.st*p", "--json").json
    assert stop["changes"] == [{"k": "exit_code", "old": None, "new": 143}]

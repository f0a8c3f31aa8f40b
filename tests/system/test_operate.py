"""`botctl audit` and `botctl ratelimit` on a bot that runs: what happened there, and a limit lifted."""

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

ONCE = '''
from botctl import Command, Context

class Once(Command):
    """Once an hour."""
    throttle = "1/1h per user"

    async def execute(self, ctx: Context) -> None:
        await ctx.reply("This once.")
'''
BOB = "900000000000000102"


def once(project: Project) -> str:
    """What bob is told when he says /once."""
    sandbox = Runtime(project.root).live()["sandbox"]

    async def say() -> str:
        async with SandboxClient(sandbox.address, sandbox.secret or "") as people:
            return last_text(await people.send(SlashCall("once", {}), Identity("bob")))

    return asyncio.run(say())


def test_a_limit_is_seen_lifted_and_on_the_record(tmp_path: Path) -> None:
    """A person is refused; the operator sees where they stand, and resets it; they may again; a follower saw it all.

    The follower begins before the bot and goes on after it.
    """
    project = Project(tmp_path / "bot")
    project.write("commands/once.py", ONCE)
    with project.process("audit", "log", "-f", "--json", "--limit", "1000", until="No `botctl run`") as following:
        with project.run() as bot:
            assert once(project) == "This once."
            assert "try again" in once(project)
            (place,) = project.call("ratelimit", "show", f"user:{BOB}", "--json").json
            assert (place["policy"], place["limit"], place["used"], place["left"]) == ("once", "1/1h per user", 1, 0)
            assert 3000 < place["retry_after_s"] <= 3600
            rows = {row["policy"]: row for row in project.call("ratelimit", "list", "--json").json}
            assert (rows["once"]["limits"], rows["once"]["subjects"]) == ("1/1h per user", 1)
            assert {"8ball", "poll:vote", "ops.status"} <= set(rows)
            misspelt = project.call("ratelimit", "show", f"user:{BOB}", "--policy", "onec")
            assert (misspelt.code, "did you mean once?" in misspelt.err) == (2, True)
            reset = project.call("ratelimit", "reset", f"user:{BOB}", "--policy", "once")
            assert reset.out == f"user:{BOB}: 1 limit reset (once).\n"
            assert once(project) == "This once."
            for action in ("run.start", "command.once", "ratelimit.reset"):
                following.until(f'"action": "{action}"')
            bot.signal(signal.SIGTERM)
            assert bot.ended() == 143
        following.signal(signal.SIGINT)
        assert following.ended() == 130
    said = list(map(json.loads, following.said.splitlines()))
    assert "No `botctl run`" in said[0]["waiting_for"]
    seen = [one for one in said if "waiting_for" not in one]
    assert len({entry["id"] for entry in seen}) == len(seen)
    (lifted,) = [entry for entry in seen if entry["action"] == "ratelimit.reset"]
    assert (lifted["actor"]["type"], lifted["target"]) == ("cli", {"type": "user", "id": BOB})
    (start,) = [entry for entry in seen if entry["action"] == "run.start"]
    assert start["target"]["id"].endswith(f":{bot.pid}")

    lines = project.call("audit", "log", "--actor", "bob", "--since", "1h").out.splitlines()
    assert re.fullmatch(
        r"[\d-]+T[\d:.]+Z  denied  bob  command\.once  denied: 1/1h per user · 1 time · #\d+.*", lines[1]
    )
    (stop,) = project.call("audit", "log", "--action", "run.st*p", "--json").json
    assert stop["changes"] == [{"k": "exit_code", "old": None, "new": 143}]

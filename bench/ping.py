"""``/ping`` through botctl's whole pipeline, compared with bare disnake with the same handler and sandbox.

The measure is the bot process's CPU time per command: its ratio is the same on any machine. The bots take turns.
Each round starts a new process, warms it up, and measures a closed loop with a few outstanding commands.
"""

from __future__ import annotations

import asyncio
import contextlib
import pstats
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import psutil

from bench.rounds import Threshold, interleave, report
from botctl.cli.init.scaffold import create
from botctl.core.processes.process import child_environment
from botctl.core.processes.runtime import Runtime
from botctl.sandbox.console.client import Identity, SandboxClient
from botctl.sandbox.console.command_parser import SlashCall
from botctl.sandbox.model.tokens import bot_token

ROOT = Path(__file__).parent.parent
BOTCTL = Path(sys.executable).with_name("botctl")
WARM_UP = 400
COMMANDS = 3000
OUTSTANDING = 20
THRESHOLDS = [Threshold("botctl", "bare disnake", "cpu_ms", 1.4), Threshold("all roles", "bare disnake", "cpu_ms", 1.4)]
PING = '''
from botctl import Command, Context


class Ping(Command):
    """Is the bot there?"""

    throttle = "100000/1s per user, 1000000/1s per guild"  # checked each time, never exceeded

    async def execute(self, ctx: Context) -> None:
        await ctx.reply("Pong!")
'''


class BenchProject:
    """A project whose stores and sandbox run for all rounds, while the bot changes."""

    def __init__(self, root: Path) -> None:
        create(root)
        for file in (root / "commands").glob("*.py"):
            file.unlink()
        (root / "commands" / "ping.py").write_text(PING, encoding="utf-8")
        self.root = root
        self.guilds: Sequence[str | None] = (None,)  # where the commands are sent; None: in the first one
        self.env = {**child_environment(), "PYTHONUNBUFFERED": "1"}
        self.start_s = 30.0  # how long a process may take until it is ready

    @contextlib.contextmanager
    def process(self, *command: str, until: str, **more: str) -> Iterator[psutil.Process]:
        """Start ``command``, wait until it prints ``until``, and stop it with SIGTERM at the end."""
        log = self.root / f"out-{len(list(self.root.glob('out-*.txt')))}.txt"
        with log.open("wb") as out:
            child = subprocess.Popen(command, cwd=self.root, env=self.env | more, stdout=out, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + self.start_s
            while until not in log.read_text(encoding="utf-8"):
                if child.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(log.read_text(encoding="utf-8"))
                time.sleep(0.02)
            yield psutil.Process(child.pid)
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(self.start_s)

    def measure(self, process: psutil.Process) -> dict[str, float]:
        """Measure CPU milliseconds of ``process`` per command, and commands per second."""
        sandbox = Runtime(self.root).live()["sandbox"]
        asyncio.run(load(sandbox.address, sandbox.secret or "", WARM_UP, self.guilds))
        before, started = process.cpu_times(), time.perf_counter()
        asyncio.run(load(sandbox.address, sandbox.secret or "", COMMANDS, self.guilds))
        after, wall_s = process.cpu_times(), time.perf_counter() - started
        cpu_s = after.user - before.user + after.system - before.system
        return {"cpu_ms": cpu_s * 1000 / COMMANDS, "per_s": COMMANDS / wall_s}

    def botctl(self, *only: str, **settings: str) -> dict[str, float]:
        """Measure `botctl run`. ``settings``: environment variables."""
        with self.process(str(BOTCTL), "run", *only, until="Try, in another terminal", **settings) as process:
            return self.measure(process)

    def bare(self) -> dict[str, float]:
        sandbox = Runtime(self.root).live()["sandbox"]
        command = (sys.executable, str(ROOT / "bench" / "bare_bot.py"), sandbox.address)
        token = bot_token(sandbox.secret or "")
        with self.process(*command, until="ready", BOTCTL_SANDBOX_TOKEN=token) as process:
            return self.measure(process)

    def profile(self) -> dict[str, float]:
        """Measure the share of own time by library, in percent, in a run under cProfile."""
        stats = self.root / "profile.out"
        command = (sys.executable, "-m", "cProfile", "-o", str(stats), "-m", "botctl", "run")
        with self.process(*command, until="Try, in another terminal") as process:
            self.measure(process)
        return _by_library(stats)


def _by_library(stats: Path) -> dict[str, float]:
    spent: Counter[str] = Counter()
    for (file, _line, name), (_calls, _all, own_s, _total, _callers) in pstats.Stats(str(stats)).stats.items():  # type: ignore[attr-defined]
        if "select" in name and "epoll" in name:
            continue  # waiting
        parts = Path(file).parts
        if "site-packages" in parts:
            spent[parts[parts.index("site-packages") + 1].removesuffix(".py")] += own_s
        elif file.startswith(str(ROOT / "botctl")):
            spent["botctl/" + Path(file).relative_to(ROOT / "botctl").parts[0]] += own_s
        else:
            spent["builtins" if file == "~" else "standard library"] += own_s
    total = sum(spent.values())
    return {name: round(100 * own_s / total, 1) for name, own_s in spent.most_common(12)}


async def load(url: str, secret: str, commands: int, guilds: Sequence[str | None] = (None,)) -> None:
    """Run a closed loop: ``OUTSTANDING`` users send the next one when the last is answered. ``guilds``: by turns."""
    remaining = iter(range(commands))
    call, identities = SlashCall("ping", {}), [Identity(guild=guild) for guild in guilds]

    async def user(client: SandboxClient) -> None:
        for number in remaining:
            reply = await client.send(call, identities[number % len(identities)])
            if not reply.answered:
                raise SystemExit(f"not answered: {reply}")

    async with SandboxClient(url, secret) as client:
        await asyncio.gather(*(user(client) for _ in range(OUTSTANDING)))


def main(rounds: int = 7) -> bool:
    """Measure, with the stores and the sandbox in their own process."""
    with tempfile.TemporaryDirectory(prefix="botctl-bench-") as folder:
        project = BenchProject(Path(folder) / "ping")
        with project.process(str(BOTCTL), "run", "--only", "stores", until="project"):
            contenders = {
                "bare disnake": project.bare,
                "botctl": partial(project.botctl, "--only", "bot"),
                "all roles": project.botctl,  # with the realtime server and the jobs in the same process
            }
            measured = interleave(contenders, rounds)
            shares = project.profile()
        print("\nwhere botctl's time goes (own time under cProfile, percent):")
        for name, percent in shares.items():
            print(f"  {percent:5.1f}  {name}")
        return report("ping", measured, THRESHOLDS, commands=COMMANDS, outstanding=OUTSTANDING, shares=shares)


if __name__ == "__main__":
    sys.exit(not main())

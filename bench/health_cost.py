"""What the health checks cost a bot: /ping with all of them, against the same without (`bench.health_botctl`).

- Instructions of a command, counted by callgrind: of the whole bot without the checks, and of the calls that the checks
  add (`bench.health_calls`). Two whole bots differ by more than that, as batches do.
- Instructions of the background, each second of an idle bot, at the true intervals: its looks, pings and questions.
- CPU time of a command on the real thing, under load, in interleaved rounds.

The first two give the ratio for any load: at ``n`` commands a second, ``command + background / n``.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from bench.ping import BOTCTL, ROOT, BenchProject
from bench.rounds import Threshold, interleave, report
from botctl.core.processes.runtime import Runtime
from botctl.sandbox.console.client import Identity, SandboxClient
from botctl.sandbox.console.command_parser import SlashCall

CHECKS = ("none", "checks")
WARM_UP, COMMANDS = 20, 100
IDLE_S = 20.0
WINDOWS = 3
CALLS = (1_000, 11_000)
RATE = 100.0
"""Commands a second, about a fifth of what a core can do: the bar counts the background at this load."""
COUNTED = [Threshold("checks", "none", "command_mi", 1.03), Threshold("checks", "none", "at_rate_mi", 1.03)]
TIMED = [Threshold("checks", "none", "cpu_ms", 1.03)]


@dataclass(frozen=True)
class Counted:
    """Millions of instructions in so many seconds."""

    mi: float
    seconds: float

    @property
    def mi_s(self) -> float:
        return self.mi / self.seconds


class HealthBench:
    """The programs that are compared, in ``project``. Make it before the sandbox starts: it allows slow answers."""

    def __init__(self, project: BenchProject) -> None:
        self.project = project
        project.start_s = 180.0  # valgrind is slow
        project.env |= {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", "BOTCTL_SANDBOX__LIMITS__RESPONSE_S": "60"}

    def command(self, checks: str, background: str) -> tuple[str, ...]:
        return sys.executable, "-m", "bench.health_botctl", checks, background, "run", "--only", "bot"

    def send(self, commands: int) -> None:
        sandbox = Runtime(self.project.root).live()["sandbox"]
        asyncio.run(_send(sandbox.address, sandbox.secret or "", commands))

    def instructions(self, checks: str, background: str, works: Sequence[Callable[[], None]]) -> list[Counted]:
        """What the bot does during each of ``works``, after the warm-up."""
        out, seconds = self.project.root / f"callgrind-{checks}-{background}.out", []
        valgrind = ("valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}")
        command = *valgrind, *self.command(checks, background)
        with self.project.process(*command, until="Try, in another terminal") as process:
            self.send(WARM_UP)
            for work in works:
                _control(process, "-i", "on")
                began_s = time.perf_counter()
                work()
                seconds.append(time.perf_counter() - began_s)
                _control(process, "-i", "off")
                _control(process, "-d")  # into a file of its own
        files = (out.with_name(f"{out.name}.{number}") for number in range(1, len(works) + 1))
        return [Counted(_total(file) / 1e6, took_s) for file, took_s in zip(files, seconds, strict=True)]

    def commands(self) -> list[float]:
        """Millions of instructions of a command without the checks, and without what repeats itself in any bot."""
        idle, send = partial(time.sleep, IDLE_S), partial(self.send, COMMANDS)
        quiet, *busy = self.instructions("none", "off", [idle, *[send] * WINDOWS])
        return [(each.mi - quiet.mi_s * each.seconds) / COMMANDS for each in busy]

    def background(self, checks: str) -> list[float]:
        """Millions of instructions a second of an idle bot."""
        idle = partial(time.sleep, IDLE_S)
        return [each.mi_s for each in self.instructions(checks, "on", [idle] * WINDOWS)]

    def counted(self) -> dict[str, list[dict[str, float]]]:
        """Of a command, of a second of the background, and of both at `RATE`."""
        commands, added = self.commands(), self.calls()
        return {
            checks: [
                {"command_mi": command + more, "background_mi_s": second, "at_rate_mi": command + more + second / RATE}
                for command, second in zip(commands, self.background(checks), strict=True)
            ]
            for checks, more in (("none", 0.0), ("checks", added))
        }

    def calls(self) -> float:
        """Millions of instructions that the checks add to a command. The start of the program cancels out."""
        few, many = map(self._call, CALLS)
        return (many - few) / (CALLS[1] - CALLS[0]) / 1e6

    def _call(self, count: int) -> int:
        out = self.project.root / f"callgrind-calls-{count}.out"
        valgrind = ("valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}")
        command = *valgrind, sys.executable, "-m", "bench.health_calls", str(count)
        subprocess.run(command, env=self.project.env, check=True, stderr=subprocess.DEVNULL)
        return _total(out)

    def timed(self, checks: str) -> dict[str, float]:
        with self.project.process(*self.command(checks, "on"), until="Try, in another terminal") as process:
            return self.project.measure(process)


async def _send(url: str, secret: str, commands: int) -> None:
    """Send one after another: several at once would go in batches, and those differ. Exits if one is not answered."""
    async with SandboxClient(url, secret) as client:
        for _ in range(commands):
            reply = await client.send(SlashCall("ping", {}), Identity())
            if not reply.answered:
                raise SystemExit(f"not answered: {reply}")


def _control(process: psutil.Process, *words: str) -> None:
    subprocess.run(("callgrind_control", *words, str(process.pid)), check=True, stdout=subprocess.DEVNULL)


def _total(out: Path) -> int:
    return sum(int(total) for total in re.findall(r"^totals: (\d+)", out.read_text(encoding="utf-8"), re.MULTILINE))


def main(rounds: int = 7) -> bool:
    """Measure; return whether every threshold holds. Without valgrind nothing is counted, and none does."""
    with tempfile.TemporaryDirectory(prefix="botctl-bench-") as folder:
        bench = HealthBench(BenchProject(Path(folder) / "health"))
        with bench.project.process(str(BOTCTL), "run", "--only", "stores", until="project"):
            timed = interleave({checks: partial(bench.timed, checks) for checks in CHECKS}, rounds)
            passed = [report("health_cpu", timed, TIMED)]
            if shutil.which("valgrind") is None:
                print("  instructions are not counted: valgrind is not installed")
                return False
            passed.append(report("health_instructions", bench.counted(), COUNTED, commands=COMMANDS, rate=RATE))
    return all(passed)


if __name__ == "__main__":
    sys.exit(not main())

"""Runs the real CLI in processes, in a project of the test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from botctl.cli.init.scaffold import create
from botctl.core.processes.runtime import Runtime
from tests.support.forked import call_in_fork
from tests.support.waiting import LIMIT_S, wait_for

BOTCTL = (sys.executable, "-m", "botctl")
READY = "Try, in another terminal"
STARTED_ONLY = "Logs"


@dataclass(frozen=True)
class CompletedCall:
    """The exit code and the output of a call."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Process:
    """A running call. ``output`` is what it has printed so far."""

    child: subprocess.Popen[bytes]
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8")

    @property
    def pid(self) -> int:
        return self.child.pid

    def wait_for_output(self, text: str, *, limit_s: float = LIMIT_S) -> None:
        """Wait until it has printed ``text``."""

        def printed() -> bool:
            assert text in self.output or self.child.poll() is None, (
                f"it ended with {self.child.returncode}:\n{self.output}"
            )
            return text in self.output

        wait_for(printed, limit_s=limit_s, what=f"{text!r} in what it prints")

    def signal(self, signum: int) -> None:
        self.child.send_signal(signum)

    def wait_for_exit(self, *, limit_s: float = LIMIT_S) -> int:
        """Wait until it has ended; returns its exit code."""
        return self.child.wait(limit_s)


class Project:
    """A bot of its own in ``root``, as `botctl init` writes it."""

    def __init__(self, root: Path, env: Mapping[str, str] | None = None) -> None:
        create(root)
        self.root = root
        self.env = {**os.environ, "PYTHONWARNINGS": "", **(env or {})}
        self._calls = 0

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text, encoding="utf-8")

    def add_settings(self, toml: str) -> None:
        """Append ``toml`` to botctl.toml."""
        path = self.root / "config" / "botctl.toml"
        path.write_text(path.read_text(encoding="utf-8") + "\n" + toml, encoding="utf-8")

    def call(self, *words: str, limit_s: float = LIMIT_S, **env: str) -> CompletedCall:
        """Call botctl and wait for its end."""
        return CompletedCall(*call_in_fork(words, self.root, {**self.env, **env}, limit_s=limit_s))

    def call_in_new_interpreter(self, *words: str, limit_s: float = LIMIT_S) -> CompletedCall:
        """Like `call`, but in a new interpreter, as a user does it: only botctl loads modules."""
        done = subprocess.run(
            (*BOTCTL, *words), cwd=self.root, env=self.env, capture_output=True, text=True, timeout=limit_s, check=False
        )
        return CompletedCall(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def process(
        self,
        *words: str,
        until: str | None = None,
        folder: Path | None = None,
        command: Sequence[str] = BOTCTL,
        **env: str,
    ) -> Iterator[Process]:
        """A call of botctl that runs during the block, in ``folder`` or the root. It is stopped at the end.

        ``command``: another program that takes the same words.
        """
        self._calls += 1
        log = self.root / f"call-{self._calls}.txt"
        with log.open("wb") as out:
            child = subprocess.Popen(
                (*command, *words),
                cwd=folder or self.root,
                env={**self.env, **env},
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        process = Process(child, log)
        try:
            if until is not None:
                process.wait_for_output(until)
            yield process
        finally:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
                try:
                    child.wait(LIMIT_S)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
                    raise

    def run(self, *words: str, until: str = READY, **env: str) -> Any:
        """`botctl run`; the block begins when it is ready."""
        return self.process("run", *words, until=until, **env)

    def parts(self) -> dict[str, int]:
        """The running embedded parts, with their process ids."""
        return {name: part.pid for name, part in Runtime(self.root).live().items()}

    def kill(self, part: str) -> None:
        """Kill an embedded part with SIGKILL."""
        psutil.Process(self.parts()[part]).kill()

"""The real CLI in processes of its own, in a project of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from botctl.cli.init.scaffold import create
from botctl.core.processes.runtime import Runtime
from tests.support.forked import botctl
from tests.support.waiting import wait_for

BOTCTL = (sys.executable, "-m", "botctl")
READY = "Try, in another terminal"
STARTED_ONLY = "Logs"


@dataclass(frozen=True)
class Done:
    """A call that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Process:
    """A call that runs; all that it prints goes to ``said``."""

    child: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    @property
    def pid(self) -> int:
        return self.child.pid

    def until(self, text: str, *, limit_s: float = 30) -> None:
        """Wait until it has printed ``text``."""

        def printed() -> bool:
            assert text in self.said or self.child.poll() is None, (
                f"it ended with {self.child.returncode}:\n{self.said}"
            )
            return text in self.said

        wait_for(printed, limit_s=limit_s, what=f"{text!r} in what it prints")

    def signal(self, signum: int) -> None:
        self.child.send_signal(signum)

    def ended(self, *, limit_s: float = 30) -> int:
        """Wait for its end; returns its exit code."""
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

    def settings(self, more: str) -> None:
        """Append ``more`` to botctl.toml."""
        path = self.root / "config" / "botctl.toml"
        path.write_text(path.read_text(encoding="utf-8") + "\n" + more, encoding="utf-8")

    def call(self, *words: str, limit_s: float = 30, **env: str) -> Done:
        """Call botctl and wait for its end."""
        return Done(*botctl(words, self.root, {**self.env, **env}, limit_s=limit_s))

    def fresh(self, *words: str, limit_s: float = 30) -> Done:
        """As `call`, in a new interpreter: as a person does it, and nothing is loaded that botctl does not load."""
        done = subprocess.run(
            (*BOTCTL, *words), cwd=self.root, env=self.env, capture_output=True, text=True, timeout=limit_s, check=False
        )
        return Done(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def process(
        self, *words: str, until: str | None = None, folder: Path | None = None, **env: str
    ) -> Iterator[Process]:
        """A call of botctl that goes on, in ``folder`` or the root; whatever it left running is ended with it."""
        self._calls += 1
        log = self.root / f"call-{self._calls}.txt"
        with log.open("wb") as out:
            child = subprocess.Popen(
                (*BOTCTL, *words),
                cwd=folder or self.root,
                env={**self.env, **env},
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        process = Process(child, log)
        try:
            if until is not None:
                process.until(until)
            yield process
        finally:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
                try:
                    child.wait(20)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
                    raise

    def run(self, *words: str, until: str = READY, **env: str) -> Any:
        """`botctl run`, from the moment it is ready."""
        return self.process("run", *words, until=until, **env)

    def parts(self) -> dict[str, int]:
        """The embedded parts that run, with their process ids."""
        return {name: part.pid for name, part in Runtime(self.root).live().items()}

    def kill(self, part: str) -> None:
        """kill -9 of an embedded part."""
        psutil.Process(self.parts()[part]).kill()

"""Reads the events that a bot process reports, one line of JSON on stdout each."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class BotEvents:
    """The reported events of the process ``running``."""

    running: asyncio.subprocess.Process
    limit_s: float
    waiting: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, event: str) -> dict[str, Any]:
        """Return the fields of the next ``event``; other events are kept. Raises AssertionError at the end."""
        while not (found := [line for line in self.waiting if line["event"] == event]):
            self.waiting.append(await self._next(event))
        self.waiting.remove(found[0])
        return {key: value for key, value in found[0].items() if key != "event"}

    async def _next(self, event: str) -> dict[str, Any]:
        assert self.running.stdout
        try:
            raw = await asyncio.wait_for(self.running.stdout.readline(), self.limit_s)
        except TimeoutError:
            self.running.kill()
            raw = b""
        if not raw:
            errors = await self.running.stderr.read() if self.running.stderr else b""
            raise AssertionError(f"no {event}, but {self.waiting}: {errors.decode()[-3000:]}")
        line: dict[str, Any] = json.loads(raw)
        assert line["event"] != "error", line.get("what")
        return line

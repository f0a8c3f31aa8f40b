"""The starts of this project's bot in a file, ``.botctl/starts-<roles>.json``: what `pauses` decides by.

A record is written at the start, and updated at each login, every few seconds while the process runs, and at its end.
So the next start knows how far the last one came, even if that was killed. A file that cannot be written only costs its
knowledge.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from botctl.core.clock import Clock
from botctl.core.errors import ExitCode
from botctl.core.files.private import make_private_folder, write_private
from botctl.core.processes.process import process_space
from botctl.core.redact import redact
from botctl.logins.budget import DEFAULT_TOTAL
from botctl.logins.pauses import Series, StartRecord, series_of
from botctl.logins.start_file import read_starts

KEPT: Final = 60
SEEN_EVERY_S: Final = 15.0
MAX_REASON: Final = 300
_log = logging.getLogger(__name__)


class StartHistory:
    """The starts of ``roles`` of the project with this state ``folder``. `begin` comes first."""

    def __init__(self, folder: Path, roles: Collection[str], clock: Clock, *, boot: str | None = None) -> None:
        self._folder = folder
        self._path = folder / f"starts-{'-'.join(sorted(roles))}.json"
        self._clock = clock
        self._boot = (
            process_space().partition(":")[0] if boot is None else boot
        )  # a container restarts in the same boot
        self._earlier: list[StartRecord] = []
        self._own: StartRecord | None = None
        self.series = Series(())
        """The starts before this one; see `begin`."""
        self.override = False
        """Whether a person wants this start now."""

    def begin(self, *, override: bool = False, attended: bool = False) -> Series:
        """Write down this start; returns the series of starts before it, which is empty if a person wants it now.

        ``override``: they said so; later starts do not count those before this one. ``attended``: they typed it.
        """
        now_s = self._now_s()
        self.override = override
        self._earlier = self._read()[-KEPT:]
        if override and self._earlier:
            self._earlier[-1] = replace(self._earlier[-1], closed=True)
        self._update(StartRecord(at_s=now_s, seen_s=now_s, boot=self._boot))
        self.series = series_of(self._earlier, now_s, boot=self._boot, total=DEFAULT_TOTAL)
        if attended:
            self.series = Series(())
        return self.series

    def count_login(self) -> None:
        """Write down that a login is about to be sent."""
        if self._own is not None:
            self._update(replace(self._own, logins=self._own.logins + 1, seen_s=self._now_s()))

    def note_ready(self) -> None:
        """Write down that the bot receives events."""
        if self._own is not None:
            self._update(replace(self._own, ready=True, seen_s=self._now_s()))

    def end(self, exit_code: ExitCode, reason: str = "") -> None:
        """Write down how the process ends, and why."""
        if self._own is not None:
            text = " ".join(redact(reason).split())[:MAX_REASON]
            self._update(replace(self._own, seen_s=self._now_s(), exit_code=int(exit_code), reason=text))

    async def keep_seen(self) -> None:
        """Write down from time to time that this process runs. Never returns."""
        while True:
            await asyncio.sleep(SEEN_EVERY_S)
            if self._own is not None and self._own.exit_code is None:
                self._update(replace(self._own, seen_s=self._now_s()))

    def _now_s(self) -> float:
        return self._clock.now().timestamp()

    def _read(self) -> list[StartRecord]:
        try:
            return read_starts(self._path)
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            _log.warning("%s cannot be read (%s): the starts in it do not count", self._path, type(error).__name__)
            return []

    def _update(self, own: StartRecord) -> None:
        self._own = own
        new = self._path.with_suffix(".new")
        try:
            make_private_folder(self._folder)
            write_private(new, json.dumps([asdict(record) for record in (*self._earlier, own)]))
            new.replace(self._path)
        except OSError as error:
            _log.debug("%s cannot be written: %s", self._path, error.strerror)

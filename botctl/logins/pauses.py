"""The pause before a start, from the starts before it and the login budget. Times are seconds since 1970.

The first crash costs no pause. Later pauses grow, so that what may be spent lasts until the budget resets: for a bot of
one shard they double up to a quarter of an hour, for one whose start costs a tenth of the budget they grow faster.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from botctl.core.errors import CrashLoop, ExitCode

FIRST_S: Final = 5.0
"""The pause before the second start after a crash."""
LIMIT_S: Final = 900.0
"""The longest pause of a bot that can afford it."""
NO_LOGIN_LIMIT_S: Final = 60.0
"""The longest pause after a start that failed before its first login: it cost nothing, and its store may be back."""
RESUMED_LIMIT_S: Final = 3.0
"""The longest pause after a run that had resumed its sessions: it cost nothing, and it worked."""
STABLE_S: Final = 300.0
"""A run of this length ends a series of crashes. A run whose start was dearer must be longer: `stable_s`."""
FREE_STOPS: Final = 5
"""Ordered stops in a series that cost no pause: a person restarts a few times, a memory limit does it for ever."""
SERIES_S: Final = 86_400.0
"""Starts that are further apart are no series."""
LOOP_CRASHES: Final = 20
"""So many crashes in a row for the same reason are a loop that a person must end."""
VANISHED: Final = "it ended without a word: killed, out of memory, or os._exit"
_CRASHES: Final = (ExitCode.FAILED, ExitCode.UNREACHABLE)
_STOPS: Final = (ExitCode.OK, ExitCode.HUNG_UP, ExitCode.INTERRUPTED, ExitCode.TERMINATED)
_DAY_S: Final = 86_400.0
_NUMBERS: Final = re.compile(r"[0-9]+|0x[0-9a-f]+")  # ports, process ids and addresses differ from crash to crash


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRecord:
    """One start of the bot, and what became of it."""

    at_s: float
    seen_s: float  # when the process was last known to run
    boot: str = ""  # of the host; the end of the host is no crash
    logins: int = 0  # that it sent
    ready: bool = False  # whether it came as far as receiving events
    exit_code: int | None = None  # None: it runs, or ended without a word
    reason: str = ""  # why it failed: one sentence, without secrets
    closed: bool = False  # no series goes on beyond this record: a person has overridden the pause

    @property
    def crashed(self) -> bool:
        return self.exit_code is None or self.exit_code in _CRASHES

    @property
    def was_killed_at_work(self) -> bool:
        """Whether it was ready and ended without a word: it may work again, and no person can see why it ended."""
        return self.ready and self.exit_code is None

    @property
    def why(self) -> str:
        """The reason for people."""
        return self.reason or VANISHED


@dataclass(frozen=True, slots=True)
class Series:
    """The starts in a row, newest first, none of which led to a stable run."""

    starts: tuple[StartRecord, ...]

    @property
    def crashes(self) -> int:
        return sum(start.crashed for start in self.starts)

    @property
    def stops(self) -> int:
        return len(self.starts) - self.crashes

    @property
    def logins(self) -> int:
        """What they cost."""
        return sum(start.logins for start in self.starts)

    @property
    def began_s(self) -> float:
        return self.starts[-1].at_s

    @property
    def logged_in(self) -> bool:
        """Whether the newest start came as far as its first login."""
        return bool(self.starts) and self.starts[0].logins > 0

    @property
    def is_loop(self) -> bool:
        """Whether a person must end it: `LOOP_CRASHES` for one reason.

        A server that does not answer is none, nor is a bot that works and is killed.
        """
        newest = [start for start in self.starts if start.crashed][:LOOP_CRASHES]
        excused = any(start.exit_code == ExitCode.UNREACHABLE or start.was_killed_at_work for start in newest)
        if len(newest) < LOOP_CRASHES or excused:
            return False
        return len({_NUMBERS.sub("#", start.why) for start in newest}) == 1

    def loop_error(self) -> CrashLoop:
        """What a person is told who must end the loop: what crashed, how often, and what it cost."""
        began = datetime.fromtimestamp(self.began_s, UTC)
        sentence = (
            f"The bot has crashed {self.crashes} times in a row since {began:%Y-%m-%d %H:%M} UTC, each time with: "
            f"{self.starts[0].why.rstrip('.')}. That cost {self.logins} logins."
        )
        hint = "Correct that and start the bot again: it counts from zero then. `botctl --debug run` shows tracebacks."
        return CrashLoop(sentence, hint=hint)


def series_of(records: Sequence[StartRecord], now_s: float, *, boot: str, total: int) -> Series:
    """The series at the end of ``records`` (oldest first). ``total``: the logins that Discord allows in a day."""
    starts: list[StartRecord] = []
    later_s = now_s
    for record in reversed(records):
        is_other = record.closed or record.boot != boot or later_s - record.seen_s > SERIES_S
        needs_person = not record.crashed and record.exit_code not in _STOPS
        if is_other or needs_person or record.seen_s - record.at_s >= stable_s(record.logins, total):
            break
        starts.append(record)
        later_s = record.at_s
    return Series(tuple(starts))


def stable_s(logins: int, total: int) -> float:
    """How long a run must last to be no part of a series: a day has ``total`` logins, and its start took ``logins``."""
    return max(STABLE_S, _DAY_S * logins / max(1, total))


def pause_s(series: Series, *, affordable: float, left_s: float) -> float:
    """Seconds between the end of the last run and the next start.

    ``affordable``: starts that may be spent, in the ``left_s`` seconds until the budget resets.
    """
    steps = series.crashes - 1 + max(0, series.stops - FREE_STOPS)
    if not series.crashes:
        steps = max(0, series.stops - FREE_STOPS)
    if steps <= 0:
        return 0.0
    if not series.logged_in:
        limit_s = RESUMED_LIMIT_S if series.starts[0].ready else NO_LOGIN_LIMIT_S
        return min(FIRST_S * 2.0 ** min(steps - 1, 16), limit_s)
    starts = max(1.0, affordable)
    # A geometric series of so many pauses that begins with FIRST_S fills the rest of the day.
    growth = max(2.0, (max(left_s, FIRST_S) / FIRST_S) ** (1 / max(1.0, starts + steps - 1)))
    limit_s = max(LIMIT_S, left_s / starts)
    exponent = min(steps - 1, 64)
    return min(FIRST_S * float(growth**exponent), limit_s)

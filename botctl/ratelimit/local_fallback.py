"""Count limits in this process alone while Redis does not answer."""

from __future__ import annotations

from botctl.core.clock import Clock
from botctl.ratelimit.gcra import US_PER_S, decide
from botctl.ratelimit.lua_script import Check, ScriptResult

MAX_SUBJECTS = 65_536


class LocalCounts:
    """The `gcra` states of at most ``max_subjects`` users, guilds etc.; that of the oldest call is dropped."""

    def __init__(self, clock: Clock, *, max_subjects: int = MAX_SUBJECTS) -> None:
        self._clock = clock
        self._max_subjects = max_subjects
        self._tats: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._tats)

    def clear(self) -> None:
        self._tats.clear()

    def check(self, check: Check) -> ScriptResult:
        """Count one call against all limits of ``check``, or against none if one denies it."""
        now_us = int(self._clock.monotonic() * US_PER_S)
        decisions = [decide(self._tats.get(key, 0), now_us, rate) for key, rate in check]
        for (key, _), decision in zip(check, decisions, strict=True):
            if decision.retry_after_us and key in self._tats:
                self._tats[key] = decision.tat_us  # it was perhaps further ahead than the limit allows
        longest_us = max((decision.retry_after_us for decision in decisions), default=0)
        if longest_us:
            return ScriptResult([decision.retry_after_us for decision in decisions].index(longest_us), longest_us)
        for (key, _), decision in zip(check, decisions, strict=True):
            self._tats.pop(key, None)  # moves it to the end: the dict is in order of admission
            self._tats[key] = decision.tat_us
        while len(self._tats) > self._max_subjects:
            del self._tats[next(iter(self._tats))]
        return ScriptResult(-1, 0)

"""Sentences about a state that lasts: said once, and again every ten minutes, however often the state is met."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

AGAIN_S: Final = 600.0


class Repeats:
    """Remembers which sentence was said last about each subject, and when. For use in an event loop."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[str, float]] = {}

    def level(self, level: int, subject: str, sentence: str) -> int:
        """``level``, if ``sentence`` is another one than the last about ``subject``, or `AGAIN_S` old; else DEBUG."""
        now_s = asyncio.get_running_loop().time()
        last, at_s = self._said.get(subject, ("", 0.0))
        if sentence == last and now_s - at_s < AGAIN_S:
            return logging.DEBUG
        self._said[subject] = (sentence, now_s)
        return level

    def end(self, subject: str) -> None:
        """The state of ``subject`` is over: the next sentence about it is said."""
        self._said.pop(subject, None)

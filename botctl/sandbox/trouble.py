"""What is wrong with the sandbox at the moment. Incidents set it; the adapters look at it wherever it could show."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Spoiled:
    """A REST answer in the place of the right one; ``left`` is how many more there are (None: no end)."""

    status: int
    body: bytes
    headers: dict[str, str]
    left: int | None = None
    chance: float = 1.0
    concerns: Callable[[str], bool] = lambda _: True  # by the request's path


@dataclass
class Trouble:
    """Every default means that all is well. Times in seconds.

    ``delay_s``/``jitter_s``: a REST answer and a gateway frame take that long, plus up to the jitter; ``drip_s``: the
    body of a REST answer is spread over that time; ``skew_s``: how far Discord's clock is ahead in the header ``Date``;
    ``acks``: are heartbeats answered?; ``repeats``: so many dispatches that a client had before are told again at its
    RESUME; ``resume_dead``: is the host of ``resume_gateway_url`` out of reach?
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    drip_s: float = 0.0
    skew_s: float = 0.0
    acks: bool = True
    repeats: int = 0
    resume_dead: bool = False
    spoiled: list[Spoiled] = field(default_factory=list)
    random: random.Random = field(default_factory=random.Random, repr=False)

    @property
    def in_rest(self) -> bool:
        """Does REST answer otherwise than usual?"""
        return bool(self.delay_s or self.jitter_s or self.drip_s or self.skew_s or self.spoiled)

    def latency_s(self) -> float:
        return self.delay_s + self.random.random() * self.jitter_s

    def spoils(self, path: str) -> Spoiled | None:
        """What ``path`` is answered instead, if anything; one that had an end is counted down."""
        for one in self.spoiled:
            if one.concerns(path) and self.random.random() < one.chance:
                if one.left is not None:
                    one.left -= 1
                    if one.left <= 0:
                        self.spoiled.remove(one)
                return one
        return None

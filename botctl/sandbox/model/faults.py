"""What is wrong with the sandbox at the moment. Incidents set it; the adapters look at it wherever it could show."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from botctl.sandbox.model.api_error import Refusal


@dataclass(frozen=True)
class Page:
    """An answer that does not come from Discord itself, but from what stands before it."""

    status: int
    body: bytes
    headers: Mapping[str, str]


@dataclass(eq=False)
class Spoiled:
    """What the share ``chance`` of requests whose path contains ``path`` are answered, instead of the right thing."""

    instead: Callable[[], Refusal | Page]
    chance: float = 1.0
    path: str = ""


@dataclass
class Trouble:
    """Every default means that all is well. Times in seconds.

    ``delay_s``/``jitter_s``: a REST answer and a gateway frame take that long, plus up to the jitter; ``drip_s``: the
    body of a REST answer is spread over that time; ``skew_s``: how far Discord's clock is ahead in the headers ``Date``
    and ``X-RateLimit-Reset``; ``acks``: are heartbeats answered?; ``repeats``: so many dispatches that a client had
    before are told again at its RESUME; ``resume_dead``: is the host of ``resume_gateway_url`` out of reach?
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
        """Do the answers of REST travel otherwise than usual?"""
        return bool(self.delay_s or self.jitter_s or self.drip_s or self.skew_s)

    def latency_s(self) -> float:
        return self.delay_s + self.random.random() * self.jitter_s

    def spoils(self, path: str) -> Refusal | Page | None:
        """What ``path`` is answered instead, if anything."""
        for one in self.spoiled:
            if one.path in path and self.random.random() < one.chance:
                return one.instead()
        return None

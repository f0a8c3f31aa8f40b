"""Faults, the parts of an incident (a simulated failure). `incidents` sets them; `rest` and `gateway` apply them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from botctl.sandbox.model.api_error import ApiError

VIA = "1.1 botctl-sandbox"  # the header Via; to a client, a 429 without it is a ban by Cloudflare
_BAN_PAGE = b"""<!doctype html><html lang="en"><head><title>Access denied</title></head>
<body><h1>Error 1015</h1><h2>You are being rate limited</h2></body></html>
"""


@dataclass(frozen=True)
class EdgeResponse:
    """A response from a proxy in front of Discord's API."""

    status: int
    body: bytes
    headers: Mapping[str, str]


def ban_page(remaining_s: float) -> EdgeResponse:
    """Cloudflare's error page 1015: HTML, and no Via header."""
    headers = {
        "Content-Type": "text/html; charset=UTF-8",
        "Server": "cloudflare",
        "Retry-After": str(math.ceil(remaining_s)),
    }
    return EdgeResponse(429, _BAN_PAGE, headers)


@dataclass(eq=False)
class ResponseOverride:
    """Another response to requests whose path contains ``path``; to each with ``probability``, 0 to 1."""

    make_response: Callable[[], ApiError | EdgeResponse]
    probability: float = 1.0
    path: str = ""


@dataclass
class Faults:
    """The active faults; the defaults mean none."""

    delay_s: float = 0.0  # added to each REST response and gateway frame
    jitter_s: float = 0.0  # a random part of it is added to ``delay_s``
    body_duration_s: float = 0.0  # of sending the body of a REST response slowly
    skew_s: float = 0.0  # added to the times in the headers Date and X-RateLimit-Reset
    acknowledges_heartbeats: bool = True
    deafens_connections: bool = False  # after READY and its guilds, or RESUMED, a new connection gets no dispatch
    repeated_dispatches: int = 0  # how many events a RESUME sends a second time
    resume_host_down: bool = False  # a RESUME is cut off without an answer
    attempts_to_drop: int = 0  # how many of the next gateway connections are dropped before their handshake
    overrides: list[ResponseOverride] = field(default_factory=list)
    random: random.Random = field(default_factory=random.Random, repr=False)

    @property
    def affects_rest(self) -> bool:
        return bool(self.delay_s or self.jitter_s or self.body_duration_s or self.skew_s)

    def lose_connections(self, count: int = 1) -> None:
        """Drop the attempts of ``count`` clients to connect again: two each, since HTTP libraries repeat a GET."""
        self.attempts_to_drop += 2 * count

    def drops_connection(self) -> bool:
        """Whether to drop a new gateway connection; counts it."""
        if self.attempts_to_drop <= 0:
            return False
        self.attempts_to_drop -= 1
        return True

    def latency_s(self) -> float:
        return self.delay_s + self.random.random() * self.jitter_s

    def override_for(self, path: str) -> ApiError | EdgeResponse | None:
        for override in self.overrides:
            if override.path in path and self.random.random() < override.probability:
                return override.make_response()
        return None

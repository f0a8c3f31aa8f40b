"""What is wrong with the sandbox at the moment. Incidents set it; the adapters look at it wherever it could show."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from botctl.sandbox.model.api_error import ApiError

VIA = "1.1 botctl-sandbox"  # Discord's edge adds this header, and clients take a response without it for a ban
_BAN_PAGE = b"""<!doctype html><html lang="en"><head><title>Access denied</title></head>
<body><h1>Error 1015</h1><h2>You are being rate limited</h2></body></html>
"""


@dataclass(frozen=True)
class EdgeResponse:
    """An answer that does not come from Discord itself, but from what stands before it."""

    status: int
    body: bytes
    headers: Mapping[str, str]


def ban_page(left_s: float) -> EdgeResponse:
    """Cloudflare's own page 1015, which Discord never sees: HTML, and no Via header."""
    headers = {
        "Content-Type": "text/html; charset=UTF-8",
        "Server": "cloudflare",
        "Retry-After": str(math.ceil(left_s)),
    }
    return EdgeResponse(429, _BAN_PAGE, headers)


@dataclass(eq=False)
class ResponseOverride:
    """What the share ``probability`` of requests whose path contains ``path`` are answered, instead of the right thing."""

    make_response: Callable[[], ApiError | EdgeResponse]
    probability: float = 1.0
    path: str = ""


@dataclass
class Faults:
    """Every default means that all is well. Times in seconds.

    ``delay_s``/``jitter_s``: a REST answer and a gateway frame take that long, plus up to the jitter; ``drip_s``: the
    body of a REST answer is spread over that time; ``skew_s``: how far Discord's clock is ahead in the headers ``Date``
    and ``X-RateLimit-Reset``; ``acknowledges_heartbeats``: are heartbeats answered?; ``repeated_dispatches``: so many dispatches that a client had
    before are told again at its RESUME; ``resume_host_down``: is the host of ``resume_gateway_url`` out of reach?
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    drip_s: float = 0.0
    skew_s: float = 0.0
    acknowledges_heartbeats: bool = True
    repeated_dispatches: int = 0
    resume_host_down: bool = False
    overrides: list[ResponseOverride] = field(default_factory=list)
    random: random.Random = field(default_factory=random.Random, repr=False)

    @property
    def affects_rest(self) -> bool:
        """Do the answers of REST travel otherwise than usual?"""
        return bool(self.delay_s or self.jitter_s or self.drip_s or self.skew_s)

    def latency_s(self) -> float:
        return self.delay_s + self.random.random() * self.jitter_s

    def override_for(self, path: str) -> ApiError | EdgeResponse | None:
        """What ``path`` is answered instead, if anything."""
        for override in self.overrides:
            if override.path in path and self.random.random() < override.probability:
                return override.make_response()
        return None

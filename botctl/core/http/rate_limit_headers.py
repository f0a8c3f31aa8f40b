"""The headers of a response with status 429.

``RateLimit-Policy`` and ``RateLimit`` are those of draft-ietf-httpapi-ratelimit-headers-10 (structured fields, RFC
9651). A limit with a burst is told as its burst, and the time in which all of that is there again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from botctl.core.contracts.throttle import Limit


def throttled_headers(policy: str, limits: Sequence[Limit], exceeded: Limit | None, wait_s: float) -> Mapping[str, str]:
    """For a call over the limit ``exceeded`` of ``limits``, which could be admitted in ``wait_s`` seconds."""
    seconds = max(1, math.ceil(wait_s))
    names = {limit: _name(policy, limits, index) for index, limit in enumerate(limits)}
    headers = {"Retry-After": str(seconds)}
    if names:
        headers["RateLimit-Policy"] = ", ".join(f"{name};{_quota(limit)}" for limit, name in names.items())
    if exceeded in names:
        headers["RateLimit"] = f"{names[exceeded]};r=0;t={seconds}"
    return headers


def too_many_headers(policy: str, limit: int, wait_s: int) -> Mapping[str, str]:
    """For one more than ``limit`` connections at once. When one ends is not known: try again in ``wait_s``."""
    return {
        "Retry-After": str(wait_s),
        "RateLimit-Policy": f'"{policy}";q={limit};qu="concurrent-requests"',
        "RateLimit": f'"{policy}";r=0',
    }


def _name(policy: str, limits: Sequence[Limit], index: int) -> str:
    return f'"{policy}"' if len(limits) == 1 else f'"{policy}-{index + 1}"'


def _quota(limit: Limit) -> str:
    return f"q={limit.burst};w={max(1, math.ceil(limit.burst * limit.period_s / limit.count))}"

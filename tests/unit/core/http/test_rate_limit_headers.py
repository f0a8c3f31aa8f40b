"""The headers of a response with status 429."""

from __future__ import annotations

from botctl.core.contracts.throttle import API_SCOPES, parse
from botctl.core.http.rate_limit_headers import throttled_headers, too_many_headers


def test_headers_tell_limit_and_wait() -> None:
    (limit,) = limits = parse("300/1m per address", scopes=API_SCOPES)
    assert throttled_headers("realtime.connect", limits, limit, 0.2) == {
        "Retry-After": "1",
        "RateLimit-Policy": '"realtime.connect";q=300;w=60',
        "RateLimit": '"realtime.connect";r=0;t=1',
    }


def test_headers_tell_which_of_several_limits_is_used_up() -> None:
    limits = parse("20/1s burst 100 per address, 1000/1h global", scopes=API_SCOPES)
    assert throttled_headers("p", limits, limits[1], 3.6) == {
        "Retry-After": "4",
        "RateLimit-Policy": '"p-1";q=100;w=5, "p-2";q=1000;w=3600',
        "RateLimit": '"p-2";r=0;t=4',
    }


def test_number_of_connections_is_a_limit_without_a_window() -> None:
    assert too_many_headers("c", 200, 10) == {
        "Retry-After": "10",
        "RateLimit-Policy": '"c";q=200;qu="concurrent-requests"',
        "RateLimit": '"c";r=0',
    }

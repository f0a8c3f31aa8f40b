"""Limits in memory come before those in Redis."""

from __future__ import annotations

from unittest.mock import AsyncMock, Mock

import pytest

from botctl.core.contracts.throttle import API_SCOPES, Scope, Verdict, parse
from botctl.realtime import protocol
from botctl.realtime.limits import KIND_LIMITS, PolicyLimiter

SUBJECTS = {Scope.KEY: "k", Scope.ADDRESS: "192.0.2.1", Scope.CONNECTION: "c"}


def limiter(text: str, time_s: list[float]) -> tuple[PolicyLimiter, AsyncMock]:
    store = Mock(check_subjects=AsyncMock(return_value=Verdict(True)))
    found = PolicyLimiter("p", parse(text, scopes=API_SCOPES), store, time_s=lambda: time_s[0])
    return found, store.check_subjects


async def test_messages_over_the_limit_cost_no_call_to_the_store() -> None:
    time_s = [0.0]
    limited, asked = limiter("2/1s per key", time_s)
    verdicts = [await limited.check(SUBJECTS) for _ in range(100)]
    assert [verdict.allowed for verdict in verdicts] == [True, True] + [False] * 98
    assert asked.call_count == 2
    assert 0 < verdicts[-1].retry_after_s <= 0.5
    time_s[0] = 0.5
    assert (await limited.check(SUBJECTS)).allowed
    assert asked.call_count == 3


@pytest.mark.parametrize(("kind", "burst"), [("Subscribe", 100), ("Watch", 20), ("Do", 20)])
async def test_requests_of_one_connection_are_limited_by_kind(kind: str, burst: int) -> None:
    limited, asked = limiter("1000/1s per key", [0.0])
    allowed = [(await limited.check(SUBJECTS, kind=kind)).allowed for _ in range(150)]
    assert sum(allowed) == asked.call_count == burst
    other = SUBJECTS | {Scope.CONNECTION: "d"}
    assert (await limited.check(other, kind=kind)).allowed
    assert (await limited.check(SUBJECTS, kind="Ping")).allowed


async def test_limit_per_connection_counts() -> None:
    limited, _ = limiter("1/1s per connection", [0.0])
    assert (await limited.check(SUBJECTS)).allowed
    assert not (await limited.check(SUBJECTS)).allowed
    assert (await limited.check(SUBJECTS | {Scope.CONNECTION: "d"})).allowed


def test_every_limited_kind_is_a_request() -> None:
    assert all(hasattr(protocol, kind) for kind in KIND_LIMITS)

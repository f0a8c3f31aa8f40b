"""Which roles are expected of a bot, and how long they are missing."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from botctl.core.contracts.expected_roles import ExpectedRole
from botctl.monitor.roles import expected
from botctl.monitor.verdict import ABSENT_S
from botctl.run.roles import DEFAULT_ROLES, ProcessRole

HOUR_S = 3600.0
seconds = st.floats(min_value=0, allow_nan=False)


def roles(
    seen_s: dict[str, float], *configured: str, redis_s: float = math.inf, bot_s: float = HOUR_S
) -> dict[str, float]:
    return dict(expected(seen_s, configured, redis_uptime_s=redis_s, bot_uptime_s=bot_s))


def test_roles_seen_in_the_last_day_are_expected() -> None:
    assert roles({"bot": 0.4, "web": 700.0}) == {"bot": 0.4, "web": 700.0}
    assert roles({}) == {}


def test_settings_name_exactly_the_expected_roles() -> None:
    """One that was never seen is missing since the bot runs, and Redis knows."""
    assert roles({"bot": 0.4, "web": 700.0}, "bot", "jobs") == {"bot": 0.4, "jobs": HOUR_S}
    assert roles({}, "jobs", bot_s=20.0) == {"jobs": 20.0}
    assert roles({}, "jobs", redis_s=3.0) == {"jobs": 3.0}
    assert roles({}, "jobs", bot_s=math.inf) == {"jobs": 86_400.0}


def test_redis_that_has_just_started_claims_no_absence() -> None:
    assert roles({"web": HOUR_S}, redis_s=2.0) == {"web": 2.0}


def test_bot_that_is_just_starting_misses_no_role() -> None:
    """All its processes were down for an hour, and the first one is up."""
    assert roles({"web": HOUR_S}, bot_s=ABSENT_S - 1) == {"web": ABSENT_S - 1}
    assert roles({"web": HOUR_S}, bot_s=ABSENT_S) == {"web": HOUR_S}


@given(st.dictionaries(st.sampled_from(list(map(str, ExpectedRole))), seconds), seconds, seconds)
def test_no_role_is_missing_for_longer_than_redis_runs(seen_s: dict[str, float], redis_s: float, bot_s: float) -> None:
    found = roles(seen_s, redis_s=redis_s, bot_s=bot_s)
    assert found.keys() == seen_s.keys()
    assert all(since_s <= redis_s for since_s in found.values())
    assert all(since_s <= seen_s[role] for role, since_s in found.items())


def test_expected_roles_are_those_of_a_run_without_the_stores() -> None:
    assert set(map(str, ExpectedRole)) == set(map(str, ProcessRole)) - {"stores"} == set(map(str, DEFAULT_ROLES))

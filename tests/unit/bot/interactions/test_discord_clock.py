"""Ages on Discord's clock, however wrong the host's is."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from botctl.bot.interactions.discord_clock import DRIFT, TRUST_IDS_AFTER_S, DiscordClock, created_s
from tests.support.offline import snowflake_at

NOW_S = created_s(1_500_000_000_000_000_000)
HOUR_S = 3600.0


class Host:
    """A host's clock, ``wrong_s`` ahead of Discord's."""

    def __init__(self, wrong_s: float) -> None:
        self.wrong_s = wrong_s
        self.discord_s = NOW_S

    def __call__(self) -> float:
        return self.discord_s + self.wrong_s


def date(at_s: float) -> str:
    return format_datetime(datetime.fromtimestamp(at_s, UTC), usegmt=True)


@pytest.fixture(params=[HOUR_S, -HOUR_S, -NOW_S], ids=["fast", "slow", "since boot"])
def host(request: pytest.FixtureRequest) -> Host:
    return Host(request.param)


def test_age_is_known_from_the_date_of_an_answer(host: Host):
    clock = DiscordClock(host)
    assert clock.age_s(snowflake_at(NOW_S - 60)) == 0  # nothing is known yet
    clock.learn_date(date(NOW_S), sent_s=host())
    assert clock.age_s(snowflake_at(NOW_S - 60)) == pytest.approx(60, abs=1)
    assert clock.age_s(snowflake_at(NOW_S)) == pytest.approx(0, abs=0.001)


def test_newest_id_of_a_backlog_dates_the_others(host: Host):
    clock = DiscordClock(host)
    backlog = [snowflake_at(NOW_S - 60 + n) for n in range(61)]
    for snowflake in backlog:
        clock.learn_id(snowflake)
    assert [round(clock.age_s(snowflake)) for snowflake in backlog] == [60 - n for n in range(61)]


def test_frozen_host_sees_what_is_old_afterwards(host: Host):
    clock = DiscordClock(host)
    clock.learn_id(snowflake_at(host.discord_s))
    early = snowflake_at(host.discord_s + 1)
    host.discord_s += 60
    clock.learn_id(early)
    assert clock.age_s(early) == pytest.approx(59, abs=0.1)


def test_ticks_that_stood_still_are_corrected_by_new_ids(host: Host):
    clock = DiscordClock(host)
    clock.learn_id(snowflake_at(NOW_S))
    early, new = snowflake_at(NOW_S + 1), snowflake_at(NOW_S + 60)
    for snowflake in (early, new):
        clock.learn_id(snowflake)
    assert clock.age_s(early) == pytest.approx(59, abs=0.01)
    assert clock.age_s(new) == pytest.approx(0, abs=0.01)


def test_belief_that_is_too_high_is_lowered_by_dates(host: Host):
    """And sinks by itself: no interaction is refused for ever."""
    clock = DiscordClock(host)
    clock.learn_date(date(NOW_S + HOUR_S), sent_s=host())
    assert clock.age_s(snowflake_at(NOW_S)) == pytest.approx(HOUR_S, abs=1)
    clock.learn_date(date(NOW_S), sent_s=host())
    assert clock.age_s(snowflake_at(NOW_S)) <= 1
    host.discord_s += 10_000
    assert clock.age_s(snowflake_at(NOW_S)) <= 10_001 - 10_000 * DRIFT


def test_text_that_is_no_date_is_ignored(host: Host):
    clock = DiscordClock(host)
    clock.learn_date("soon", sent_s=host())
    assert clock.age_s(snowflake_at(NOW_S - 60)) == 0


def test_date_ahead_of_the_ids_makes_none_of_them_old(host: Host):
    clock = DiscordClock(host)
    clock.learn_id(snowflake_at(NOW_S))
    clock.learn_date(date(NOW_S + 30), sent_s=host())
    assert clock.age_s(snowflake_at(NOW_S)) < 1


@pytest.mark.parametrize("again", [False, True], ids=["one answer", "every answer"])
def test_wrong_date_counts_only_until_ids_are_known(host: Host, again: bool):
    """A server whose clock is an hour fast, before the first id."""
    clock = DiscordClock(host)
    clock.learn_date(date(NOW_S + HOUR_S), sent_s=host())
    clock.learn_id(snowflake_at(NOW_S))
    assert clock.age_s(snowflake_at(NOW_S)) == pytest.approx(HOUR_S, abs=1)
    host.discord_s += TRUST_IDS_AFTER_S
    if again:
        clock.learn_date(date(host.discord_s + HOUR_S), sent_s=host())
    assert clock.age_s(snowflake_at(host.discord_s)) == 0
    assert clock.age_s(snowflake_at(NOW_S)) == pytest.approx(TRUST_IDS_AFTER_S, abs=1)


def test_date_still_shows_a_backlog_after_its_first_ids(host: Host):
    clock = DiscordClock(host)
    clock.learn_date(date(NOW_S), sent_s=host())
    backlog = [snowflake_at(NOW_S - 60 + n) for n in range(30)]
    for snowflake in backlog:
        clock.learn_id(snowflake)
    assert clock.age_s(backlog[-1]) == pytest.approx(31, abs=1)

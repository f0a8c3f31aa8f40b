"""Each interaction once."""

from __future__ import annotations

from botctl.bot.interactions.arrivals import Arrivals, RecentIds
from tests.support.offline import snowflake_at

NOW_S = 1_780_000_000.0


def test_ids_are_remembered_for_fifteen_minutes():
    recent = RecentIds()
    first = snowflake_at(NOW_S)
    assert recent.add(first)
    recent.add(snowflake_at(NOW_S + 899))
    assert not recent.add(first)
    recent.add(snowflake_at(NOW_S + 901))
    assert recent.add(first)


def test_oldest_ids_go_first_when_there_are_too_many():
    recent = RecentIds(limit=3)
    ids = [snowflake_at(NOW_S + n) for n in range(4)]
    assert all(map(recent.add, ids))
    assert len(recent) == 3
    assert [recent.add(snowflake) for snowflake in ids[1:]] == [False] * 3


async def test_repetitions_are_counted_here_and_elsewhere():
    class Taken:
        async def claim(self, interaction: int) -> bool:
            return False

    arrivals = Arrivals(claims=Taken())
    assert arrivals.admit(1)
    assert not arrivals.admit(1)
    assert not await arrivals.claim(1)
    assert arrivals.counts.repeated == 2

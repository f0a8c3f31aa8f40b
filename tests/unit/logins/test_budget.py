"""The arithmetic of the login budget."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from botctl.logins.budget import ARRIVAL_MS, DAY_MS, Login, Observation, budget_of, decide, reserve_of

NOW = 10 * DAY_MS


def logins(*at_ms: int) -> list[Login]:
    return [Login(at, 0, str(number)) for number, at in enumerate(at_ms)]


def said(
    remaining: int, *, total: int = 1000, asked_ms: int = NOW - 60_000, resets_ms: int = NOW + 60_000
) -> Observation:
    return Observation(total, remaining, resets_ms, 1, asked_ms)


class TestReserve:
    def test_is_50_or_5_percent_or_a_whole_start(self) -> None:
        assert [reserve_of(1000, 1), reserve_of(4000, 16), reserve_of(2000, 400)] == [50, 200, 400]

    @given(total=st.integers(1, 50_000), shards=st.integers(1, 50_000))
    def test_leaves_half_to_spend(self, total: int, shards: int) -> None:
        assert 0 <= reserve_of(total, shards) <= total // 2


class TestBudget:
    def test_without_discord_the_logins_of_24_h_count(self) -> None:
        budget = budget_of(None, logins(NOW - DAY_MS, NOW - DAY_MS + 1, NOW), NOW, 50)
        assert (budget.left, budget.used, budget.spendable) == (998, 2, 948)
        assert budget.resets_ms == NOW + 1

    def test_discord_knows_of_logins_that_were_not_ours(self) -> None:
        budget = budget_of(said(120), logins(NOW - 10_000), NOW, 50)
        assert (budget.left, budget.spendable, budget.resets_ms) == (119, 69, NOW + 60_000)

    def test_discord_knows_that_the_budget_was_reset(self) -> None:
        """Our 900 logins of the last 24 h were before that."""
        earlier = logins(*(NOW - DAY_MS // 2 - n for n in range(900)))
        assert budget_of(said(1000, asked_ms=NOW, resets_ms=NOW + DAY_MS), earlier, NOW, 50).left == 1000

    def test_login_just_before_discord_was_asked_may_not_have_arrived(self) -> None:
        asked_ms = NOW - 60_000
        assert budget_of(said(10), logins(asked_ms - ARRIVAL_MS), NOW, 0).left == 9
        assert budget_of(said(10), logins(asked_ms - ARRIVAL_MS - 1), NOW, 0).left == 10

    def test_all_are_left_after_the_reset_minus_ours_since(self) -> None:
        old = said(3, asked_ms=NOW - DAY_MS, resets_ms=NOW - 3_600_000)
        assert budget_of(old, logins(NOW - 7_200_000, NOW - 60_000), NOW, 50).left == 999

    def test_unused_limit_has_no_time_of_reset_yet(self) -> None:
        unused = said(1000, asked_ms=NOW - 5_000, resets_ms=NOW - 5_000)
        assert budget_of(unused, logins(NOW), NOW, 50).left == 999

    @given(
        ours=st.lists(st.integers(0, 2 * DAY_MS), max_size=40),
        others=st.lists(st.integers(0, 2 * DAY_MS), max_size=40),
        asked=st.integers(0, 2 * DAY_MS),
        now=st.integers(0, DAY_MS),
    )
    @example(ours=[1], others=[], asked=0, now=DAY_MS)  # the day of an unused limit begins with the first login
    def test_never_promises_more_than_discord_has(
        self, ours: list[int], others: list[int], asked: int, now: int
    ) -> None:
        """Discord counts in windows of a day that begin with a login; others log in before it was asked only."""
        total = 30
        now += asked
        before = sorted([*(at for at in others if at < asked), *(at for at in ours if at <= now)])
        opened, left_at_asked, left_now = None, total, total
        for at in before:
            if opened is None or at >= opened + DAY_MS:
                opened, left_now = at, total
            left_now -= 1
            if at < asked:
                left_at_asked, asked_opened = left_now, opened
        asked_window_open = any(at < asked for at in before) and asked < asked_opened + DAY_MS
        limit = Observation(
            total,
            max(0, left_at_asked) if asked_window_open else total,
            asked_opened + DAY_MS if asked_window_open else asked,
            1,
            asked,
        )
        truth = left_now if opened is not None and now < opened + DAY_MS else total
        counted = [Login(at, 0, str(n)) for n, at in enumerate(ours) if at <= now]
        assert budget_of(limit, counted, now, 0).left <= max(0, truth)


class TestDecide:
    def may(self, known: list[Login], shard: int, now_ms: int = NOW, *, at_once: int = 1, reserve: int = 0) -> int:
        return decide(
            said(500), known, shard, now_ms, reserve=reserve, spacing_ms=5_500, max_concurrency=at_once
        ).wait_ms

    def test_shards_of_one_key_are_apart(self) -> None:
        known = [Login(NOW - 1_000, 3, "a")]
        assert self.may(known, 19, at_once=16) == 4_500
        assert self.may(known, 4, at_once=16) == 0
        assert self.may(known, 19, NOW + 4_500, at_once=16) == 0

    def test_reserve_is_not_spent(self) -> None:
        decision = decide(said(50), [], 0, NOW, reserve=50, spacing_ms=5_500, max_concurrency=1)
        assert (decision.wait_ms, decision.short) == (60_000, True)
        assert decide(said(51), [], 0, NOW, reserve=50, spacing_ms=5_500, max_concurrency=1).allowed

    def test_login_of_a_clock_that_was_set_back_does_not_block(self) -> None:
        assert self.may([Login(NOW + 3_600_000, 0, "a")], 0) == 0

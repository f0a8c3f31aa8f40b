"""What is known of Discord's answers: refusals, failures, bans, and that all is well again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.bot.requests.outcomes import BAN_S, RequestOutcomes, is_ban
from botctl.core.contracts.health import NO_REQUESTS, REQUESTS_S, RequestsSeen
from tests.support.clock import ManualClock

DISCORD = {"Via": "1.1 google", "Content-Type": "application/json"}
PAGE = {"Content-Type": "text/html; charset=UTF-8", "Retry-After": "120"}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def outcomes(clock: ManualClock) -> RequestOutcomes:
    return RequestOutcomes(clock)


def test_each_answer_counts_as_what_it_was(outcomes: RequestOutcomes):
    assert outcomes.seen() == NO_REQUESTS
    for status in (200, 204, 302, 400, 401, 403, 404, 429, 500, 503):
        outcomes.record(status, DISCORD)
    outcomes.record_unreachable()
    seen = outcomes.seen()
    assert (seen.answers, seen.limited, seen.failed, seen.unreachable) == (11, 1, 2, 1)
    assert (seen.row, seen.row_kind, seen.banned_until) == (1, "unreachable", None)


def test_repeated_request_that_succeeds_ends_the_row(outcomes: RequestOutcomes):
    for status in (429, 200, 429, 429):
        outcomes.record(status, DISCORD)
    assert (outcomes.seen().row, outcomes.seen().row_kind) == (2, "429")
    outcomes.record(200, DISCORD)
    assert (outcomes.seen().row, outcomes.seen().row_kind, outcomes.seen().limited) == (0, "", 3)


def test_old_answers_say_nothing(outcomes: RequestOutcomes, clock: ManualClock):
    outcomes.record(500, DISCORD)
    clock.advance(REQUESTS_S - 1)
    outcomes.record(500, DISCORD)
    assert outcomes.seen().row == 2
    clock.advance(2)
    assert outcomes.seen() == RequestsSeen(answers=1, failed=1, row=1, row_kind="5xx")
    clock.advance(REQUESTS_S)
    assert outcomes.seen() == NO_REQUESTS


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("120", 120.0), ("", BAN_S), ("Wed, 21 Oct 2026 07:28:00 GMT", BAN_S), ("-5", BAN_S), ("9" * 400, 86_400.0)],
)
def test_page_of_cloudflare_is_a_ban_until_the_end_that_it_names(
    outcomes: RequestOutcomes, clock: ManualClock, status: int, retry_after: str, seconds: float
):
    outcomes.record(status, PAGE | {"Retry-After": retry_after})
    assert outcomes.seen().banned_until == clock.now() + timedelta(seconds=seconds)
    assert (outcomes.seen().row, outcomes.seen().row_kind) == (1, "429")


@pytest.mark.parametrize("status", [200, 204, 404, 403, 429])
def test_any_answer_of_discord_ends_the_ban(outcomes: RequestOutcomes, status: int):
    outcomes.record(429, PAGE)
    outcomes.record_unreachable()
    outcomes.record(502, PAGE)
    assert outcomes.seen().banned_until is not None
    outcomes.record(status, DISCORD)
    assert outcomes.seen().banned_until is None


def test_refusals_of_discord_or_of_a_proxy_are_no_ban():
    assert is_ban(429, {"Content-Type": "text/html"})
    assert not is_ban(429, {"Content-Type": "text/html", "Via": "1.1 google"})
    assert not is_ban(429, {"Content-Type": "application/json"})
    assert not is_ban(429, {})
    assert not is_ban(401, {"Content-Type": "text/html"})


@given(st.lists(st.sampled_from([200, 404, 429, 502, None]), max_size=50))
def test_row_is_that_of_the_newest_answers(answers: list[int | None]):
    outcomes = RequestOutcomes(ManualClock())
    for status in answers:
        outcomes.record_unreachable() if status is None else outcomes.record(status, DISCORD)
    kinds = [{200: "", 404: "", 429: "429", 502: "5xx", None: "unreachable"}[status] for status in answers]
    row = 0
    while row < len(kinds) and kinds[-1] and kinds[-1 - row] == kinds[-1]:
        row += 1
    assert (outcomes.seen().row, outcomes.seen().answers) == (row, len(answers))


def test_memory_is_bounded(outcomes: RequestOutcomes):
    for _ in range(2000):
        outcomes.record(204, DISCORD)
    assert outcomes.seen().answers == 1024

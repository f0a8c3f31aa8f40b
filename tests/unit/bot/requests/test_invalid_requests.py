"""Refusals by Discord: which count towards a ban, and which requests may be sent again."""

from __future__ import annotations

import pytest

from botctl.bot.requests import invalid_requests
from botctl.bot.requests.invalid_requests import InvalidRequests, Refusal, is_refusal, may_repeat
from botctl.core.contracts.discord_access import INVALID_WARN_AT


class Seconds:
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_all_refusals_but_shared_ones_are_invalid_requests():
    requests = InvalidRequests(Seconds())
    for refusal in (Refusal(401), Refusal(403), Refusal(429, "user"), Refusal(429, "global"), Refusal(429)):
        requests.record(refusal)
    requests.record(Refusal(429, "shared"))
    assert requests.recent() == 5
    assert requests.refusals == {"401": 1, "403": 1, "429": 3, "429 shared": 1}
    assert [status for status in range(100, 600) if is_refusal(status)] == [401, 403, 429]


def test_invalid_requests_are_forgotten_after_ten_minutes():
    clock = Seconds()
    requests = InvalidRequests(clock)
    for _ in range(100):  # one each 9 s, for 15 minutes
        requests.record(Refusal(429))
        clock.now += 9
    assert 66 <= requests.recent() <= 68
    clock.now += 611
    assert requests.recent() == 0
    assert requests.refusals == {"429": 100}


@pytest.mark.parametrize(
    ("refusal", "repeats", "recent", "allowed"),
    [
        (Refusal(429, "user"), 0, 0, True),
        (Refusal(429, "global"), 0, 0, True),
        (Refusal(429, "user"), 1, 0, False),
        (Refusal(429, "user"), 0, INVALID_WARN_AT, False),
        (Refusal(429, "shared"), 0, INVALID_WARN_AT, True),
        (Refusal(429, "shared"), 1, 0, False),
        (Refusal(429, "user", token="t"), 0, 0, False),
        (Refusal(429, "shared", token="t"), 0, 0, True),
        (Refusal(401), 0, 0, False),
        (Refusal(403), 0, 0, False),
    ],
)
def test_refused_request_is_repeated_at_most_once(refusal: Refusal, repeats: int, recent: int, allowed: bool):
    assert may_repeat(refusal, repeats=repeats, recent=recent) is allowed


def test_last_request_decides_whether_an_interaction_is_refused(monkeypatch: pytest.MonkeyPatch):
    clock = Seconds()
    requests = InvalidRequests(clock)
    requests.record(Refusal(429, "user", 2.0, "a"))
    assert (requests.is_refused("a"), requests.wait_s("a"), requests.is_refused("b")) == (True, 2.0, False)
    clock.now += 3
    assert (requests.is_refused("a"), requests.wait_s("a")) == (True, 0.0)
    requests.record_success("a")
    assert not requests.is_refused("a")
    monkeypatch.setattr(invalid_requests, "_MAX_TOKENS", 2)
    for token in "cde":
        requests.record(Refusal(403, token=token))
    assert [requests.is_refused(token) for token in "cde"] == [False, True, True]
    clock.now += 1000
    requests.record(Refusal(403, token="f"))
    assert [requests.is_refused(token) for token in "def"] == [False, False, True]

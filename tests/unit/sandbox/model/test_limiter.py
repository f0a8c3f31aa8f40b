"""The rate limiter without a server: decisions and headers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from botctl.sandbox.model.api_error import RateLimited
from botctl.sandbox.model.limiter import Bucket, IdentifyDecision, RateLimiter, bucket_of
from botctl.sandbox.model.limits import Limits, Rate
from tests.support.clock import ManualClock

MESSAGES = bucket_of("POST", "/channels/{channel}/messages")
REACTION = bucket_of("PUT", "/channels/{channel}/messages/{message}/reactions/{emoji}/@me")
FREE = Rate(10**6, 1)

steps = st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 3).map(lambda value: round(value, 3))), max_size=60)


def admit(limiter: RateLimiter, clock: ManualClock, bucket: Bucket = MESSAGES, client: str = "bot", **path: str) -> Any:
    """The headers, or the RateLimited error."""
    try:
        return limiter.admit(bucket, client, {"channel": "1", "message": "2", "emoji": "3", **path}, clock)
    except RateLimited as limited:
        return limited


@given(steps, st.integers(1, 4), st.floats(0.25, 5).map(lambda value: round(value, 2)))
def test_window_never_admits_more_than_the_limit(steps: list[tuple[str, float]], count: int, per_s: float) -> None:
    clock, limiter = ManualClock(), RateLimiter(Limits(create_message=Rate(count, per_s), requests=FREE))
    windows: dict[str, tuple[float, int]] = {}
    for channel, pause_s in steps:
        clock.advance(pause_s)
        now_s = clock.monotonic()
        begun_s, used = windows.get(channel, (-per_s, 0))
        if round(begun_s + per_s - now_s, 6) <= 0:
            begun_s, used = now_s, 0
        got = admit(limiter, clock, channel=channel)
        headers = got.headers if isinstance(got, RateLimited) else got
        assert isinstance(got, RateLimited) == (used >= count)
        used = min(used + 1, count)
        windows[channel] = begun_s, used
        assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == (str(count), str(count - used))
        left_s, after_s = begun_s + per_s - now_s, float(headers["X-RateLimit-Reset-After"])
        assert left_s - 1e-6 <= after_s <= left_s + 0.0011
        assert abs(float(headers["X-RateLimit-Reset"]) - clock.now().timestamp() - after_s) < 0.002
        assert headers["X-RateLimit-Bucket"] == MESSAGES.hash


@example(1, 754.98, 113.1)
@example(1, 143.82, 54.9)
@given(st.integers(0, 5), st.floats(0.01, 900), st.floats(0, 10**6))
def test_waiting_for_retry_after_is_enough(used_before: int, per_s: float, started_s: float) -> None:
    clock, limiter = ManualClock(), RateLimiter(Limits(create_message=Rate(1, per_s)))
    clock.advance(started_s)
    admit(limiter, clock)
    for _ in range(used_before):
        clock.advance(per_s / 10)
    limited = admit(limiter, clock)
    assert isinstance(limited, RateLimited)
    assert limited.retry_after_s <= int(limited.headers["Retry-After"]) < limited.retry_after_s + 1
    assert limited.body() == {
        "message": "You are being rate limited.",
        "retry_after": limited.retry_after_s,
        "global": False,
    }
    clock.advance(limited.retry_after_s)
    assert not isinstance(admit(limiter, clock), RateLimited)


def test_bucket_depends_on_channel_and_bot_only() -> None:
    clock, limiter = ManualClock(), RateLimiter(Limits(reactions=Rate(1, 9)))
    assert isinstance(admit(limiter, clock, REACTION, message="1"), dict)
    assert isinstance(admit(limiter, clock, REACTION, message="2"), RateLimited)
    assert isinstance(admit(limiter, clock, REACTION, channel="9"), dict)
    assert isinstance(admit(limiter, clock, REACTION, "another bot"), dict)


@pytest.mark.parametrize(
    ("method", "path", "kind", "majors", "exempt"),
    [
        ("POST", "/channels/{channel}/messages", "create_message", ("channel",), False),
        ("GET", "/channels/{channel}/messages", "other_routes", ("channel",), False),
        ("PUT", "/guilds/{guild}/members/{user}/roles/{role}", "other_routes", ("guild",), False),
        ("PATCH", "/guilds/{guild}", "other_routes", ("guild",), False),
        ("PUT", "/applications/{application}/guilds/{guild}/commands", "commands", (), False),
        ("GET", "/applications/{application}/commands", "other_routes", (), False),
        ("POST", "/guilds/{guild}/emojis", "emojis", ("guild",), False),
        ("PATCH", "/webhooks/{webhook}", "webhooks", ("webhook",), False),
        ("POST", "/webhooks/{application}/{token}", "webhooks", ("application", "token"), True),
        ("PATCH", "/webhooks/{a}/{t}/messages/{message}", "webhooks", ("a", "t"), True),
        ("POST", "/interactions/{interaction}/{token}/callback", None, (), True),
        ("GET", "/users/@me", "other_routes", (), False),
    ],
)
def test_routes_count_for_their_limit(
    method: str, path: str, kind: str | None, majors: tuple[str, ...], exempt: bool
) -> None:
    bucket = bucket_of(method, path)
    assert (bucket.limit_name, bucket.major_parameters, bucket.exempt) == (kind, majors, exempt)


def test_routes_of_one_kind_share_a_bucket() -> None:
    again = bucket_of("DELETE", "/channels/{channel}/messages/{message}/reactions/{emoji}/{user}")
    assert again.hash == REACTION.hash
    assert bucket_of("GET", "/guilds/{guild}/roles").hash != bucket_of("GET", "/guilds/{guild}/members").hash
    assert bucket_of("GET", "/guilds/{g}/roles").hash == bucket_of("GET", "/guilds/{guild}/roles").hash


def test_interaction_callback_has_no_rate_limit_headers() -> None:
    """disnake sleeps within the call when a webhook's response has no requests remaining."""
    clock, limiter = (
        ManualClock(),
        RateLimiter(Limits(requests=Rate(0, 1), other_routes=Rate(0, 1), webhooks=Rate(0, 1))),
    )
    bucket = bucket_of("POST", "/interactions/{interaction}/{token}/callback")
    assert admit(limiter, clock, bucket) == {}
    assert limiter.windows == {}


def test_bot_has_one_global_limit_for_all_routes() -> None:
    clock, limiter = ManualClock(), RateLimiter(Limits(requests=Rate(2, 1)))
    admit(limiter, clock)
    admit(limiter, clock, REACTION)
    limited = admit(limiter, clock, channel="7")
    assert isinstance(limited, RateLimited)
    assert limited.body()["global"] is True
    assert limited.headers == {"X-RateLimit-Global": "true", "X-RateLimit-Scope": "global", "Retry-After": "1"}
    assert isinstance(admit(limiter, clock, client="another bot"), dict)
    follow_up = bucket_of("POST", "/webhooks/{channel}/{message}")
    assert isinstance(admit(limiter, clock, follow_up), dict)


def test_shared_bucket_has_scope_shared() -> None:
    clock, limiter = ManualClock(), RateLimiter(Limits(emojis=Rate(1, 60)))
    emojis = bucket_of("POST", "/guilds/{channel}/emojis")
    assert isinstance(admit(limiter, clock, emojis, "one"), dict)
    limited = admit(limiter, clock, emojis, "another")
    assert limited.headers["X-RateLimit-Scope"] == "shared"
    assert limited.message == "The resource is being rate limited."


def test_channel_name_and_topic_have_a_slower_limit() -> None:
    limiter, bucket = RateLimiter(Limits()), bucket_of("PATCH", "/channels/{channel}")

    def change(body: object, now_s: float) -> None:
        limiter.admit_fields(bucket, {"channel": "1"}, body, now_s)

    change({"name": "a"}, 0.0)
    change({"topic": "b"}, 1.0)
    for body in ({"nsfw": True}, None, [], "name"):
        change(body, 2.0)
    with pytest.raises(RateLimited) as limited:
        change({"name": "c", "nsfw": True}, 2.0)
    assert limited.value.retry_after_s == 598.0
    change({"name": "c"}, 600.0)


def test_too_many_invalid_requests_ban_the_address() -> None:
    limiter = RateLimiter(Limits(invalid_requests=Rate(3, 600), ban_s=60))
    for now_s in (0.0, 1.0, 2.0):
        assert limiter.ban_remaining_s("1.2.3.4", now_s) == 0
        limiter.count_invalid("1.2.3.4", now_s)
    assert limiter.ban_remaining_s("1.2.3.4", 3.0) == 59.0
    assert limiter.ban_remaining_s("5.6.7.8", 3.0) == 0
    assert limiter.ban_remaining_s("1.2.3.4", 62.0) == 0
    limiter.count_invalid("1.2.3.4", 62.0)
    assert limiter.banned_until == {}  # it was removed


def test_invalid_requests_are_counted_in_a_window() -> None:
    limiter = RateLimiter(Limits(invalid_requests=Rate(3, 600)))
    for now_s in (0.0, 1.0, 600.0, 601.0, 1200.0):
        limiter.count_invalid(None, now_s)
    assert limiter.banned_until == {}


def test_unenforced_limits_send_no_headers() -> None:
    clock, limiter = (
        ManualClock(),
        RateLimiter(Limits(enforced=False, create_message=Rate(0, 1), invalid_requests=Rate(1, 1))),
    )
    assert admit(limiter, clock) == {}
    limiter.count_invalid("1.2.3.4", 0.0)
    assert limiter.banned_until == {}


def test_daily_identify_budget_is_counted_and_reported() -> None:
    limiter = RateLimiter(Limits(identifies=Rate(2, 86_400), max_concurrency=1))
    assert limiter.session_start_limit("bot", 0.0) == {
        "total": 2, "remaining": 2, "reset_after": 0, "max_concurrency": 1,
    }  # fmt: skip
    assert limiter.admit_identify("bot", 0, 0.0) is IdentifyDecision.ALLOWED
    assert limiter.admit_identify("bot", 0, 1.0) is IdentifyDecision.TOO_SOON  # it still counts
    assert limiter.session_start_limit("bot", 1.5)["remaining"] == 0
    assert limiter.session_start_limit("bot", 1.5)["reset_after"] == 86_398_500
    assert limiter.admit_identify("bot", 0, 9.0) is IdentifyDecision.EXHAUSTED
    assert limiter.admit_identify("another", 0, 9.0) is IdentifyDecision.ALLOWED
    assert limiter.admit_identify("bot", 0, 86_400.0) is IdentifyDecision.ALLOWED


@example(2, [(0, 1.3175031335718268), (1, 2.0), (0, 1.0), (1, 4.0)])
@given(st.integers(1, 16), st.lists(st.tuples(st.integers(0, 63), st.floats(0, 4)), max_size=80))
def test_shards_with_one_key_identify_five_seconds_apart(most: int, shards: list[tuple[int, float]]) -> None:
    limiter, now_s = RateLimiter(Limits(max_concurrency=most)), 0.0
    last: dict[int, float] = {}
    for shard, pause_s in shards:
        now_s += pause_s
        key = shard % most
        expected = round(last.get(key, -5.0) + 5.0 - now_s, 6) <= 0
        assert (limiter.admit_identify("bot", shard, now_s) is IdentifyDecision.ALLOWED) == expected
        if expected:
            last[key] = now_s


def test_expired_windows_are_swept() -> None:
    clock, limiter = ManualClock(), RateLimiter(Limits(requests=FREE))
    follow_up = bucket_of("POST", "/webhooks/{channel}/{message}")
    for number in range(20_000):
        clock.advance(0.01)
        admit(limiter, clock, follow_up, message=str(number))
    assert len(limiter.windows) < 3_000

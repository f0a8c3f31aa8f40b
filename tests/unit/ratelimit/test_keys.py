"""The names of rate limits in Redis, and the subjects that people name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.contracts.throttle import Scope, parse
from botctl.ratelimit import keys
from botctl.ratelimit.keys import Key, Subject, named, prefix, read, shown, subject_of

_POLICIES = st.text(alphabet="ab:%3A .user-2*[é", min_size=1, max_size=15) | st.sampled_from(["user:user:9", "%3A"])
_LIMITS = st.sampled_from([f"{scope}{nth}" for scope in Scope for nth in ("", "-2", "-8")])
_SUBJECTS = st.from_regex(r"[0-9]{1,4}(-[0-9]{1,4})?|2001:db8::/64|dm-[0-9]{1,4}", fullmatch=True)


@given(_POLICIES, _LIMITS, _SUBJECTS)
def test_read_is_the_inverse_of_prefix(policy, limit, subject):
    """Also of policies with colons (components), of scopes within their names, and of IPv6 addresses."""
    assert read("bot", f"{prefix('bot', policy, limit)}{subject}".encode()) == Key(shown(policy), limit, subject)


@pytest.mark.parametrize(
    "name", ["policies", "resets", "hour:498738", "", "roll", "roll:user", "roll:nobody:9", "\udcff"]
)
def test_other_keys_are_none(name):
    assert read("bot", f"{keys.base('bot')}{name}".encode(errors="surrogateescape")) is None


def test_limits_are_numbered_from_the_second_of_a_scope_on():
    limits = parse("1/1s per user, 9/1h per guild, 5/1h per user, 1/1d per user")
    assert [name for name, _ in named(limits)] == ["user", "guild", "user-2", "user-3"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user:9", Subject(Scope.USER, "9")),
        ("member:7-9", Subject(Scope.MEMBER, "7-9")),
        ("address:2001:db8::1", Subject(Scope.ADDRESS, "2001:db8::/64")),
        ("address:2001:db8::/64", Subject(Scope.ADDRESS, "2001:db8::/64")),
        ("address:::ffff:192.0.2.1", Subject(Scope.ADDRESS, "192.0.2.1")),
        ("global", Subject(Scope.GLOBAL, "all")),
        ("global:all", Subject(Scope.GLOBAL, "all")),
    ],
)
def test_a_subject_as_a_person_names_it(text, expected):
    assert subject_of(text) == expected


@pytest.mark.parametrize("text", ["", "9", "user", "user:", "nobody:9", "global:9", "USER:9", "x" * 500])
def test_nobody_is_a_sentence(text):
    with pytest.raises(ValueError, match="known are user:…, member:…") as caught:
        subject_of(text)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("key", "has"),
    [
        (Key("roll", "user", "9"), True),
        (Key("roll", "user-2", "9"), True),
        (Key("roll", "member", "7-9"), True),
        (Key("roll", "guild", "dm-9"), True),
        (Key("roll", "user", "19"), False),
        (Key("roll", "member", "7-19"), False),
        (Key("roll", "member", "9-7"), False),
        (Key("roll", "guild", "9"), False),
        (Key("roll", "channel", "9"), False),
    ],
)
def test_a_user_is_also_the_member_and_the_person_in_direct_messages(key, has):
    assert Subject(Scope.USER, "9").has(key) is has


def test_a_guild_is_not_its_members():
    assert Subject(Scope.GUILD, "7").has(Key("roll", "guild", "7"))
    assert not Subject(Scope.GUILD, "7").has(Key("roll", "member", "7-9"))

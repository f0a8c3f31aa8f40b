"""The Redis keys of rate limits, and the subjects that operators name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.contracts.throttle import Scope, parse
from botctl.ratelimit import keys
from botctl.ratelimit.keys import Key, Subject, display_name, name_limits, parse_key, parse_subject, state_prefix

_POLICIES = st.text(alphabet="ab:%3A .user-2*[é", min_size=1, max_size=15) | st.sampled_from(["user:user:9", "%3A"])
_LIMITS = st.sampled_from([f"{scope}{nth}" for scope in Scope for nth in ("", "-2", "-8")])
_SUBJECTS = st.from_regex(r"[0-9]{1,4}(-[0-9]{1,4})?|2001:db8::/64|dm-[0-9]{1,4}", fullmatch=True)


@given(_POLICIES, _LIMITS, _SUBJECTS)
def test_parse_key_is_the_inverse_of_state_prefix(policy, limit, subject):
    """Also with colons in the policy (components), scopes in its name, and IPv6 addresses."""
    assert parse_key("bot", f"{state_prefix('bot', policy, limit)}{subject}".encode()) == Key(
        display_name(policy), limit, subject
    )


@pytest.mark.parametrize(
    "name", ["policies", "resets", "hour:498738", "", "roll", "roll:user", "roll:nothing:9", "\udcff"]
)
def test_other_keys_are_not_parsed(name):
    assert parse_key("bot", f"{keys.bot_prefix('bot')}{name}".encode(errors="surrogateescape")) is None


def test_second_limit_of_a_scope_gets_a_number():
    limits = parse("1/1s per user, 9/1h per guild, 5/1h per user, 1/1d per user")
    assert [name for name, _ in name_limits(limits)] == ["user", "guild", "user-2", "user-3"]


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
def test_subject_is_parsed(text, expected):
    assert parse_subject(text) == expected


@pytest.mark.parametrize("text", ["", "9", "user", "user:", "nothing:9", "global:9", "USER:9", "x" * 500])
def test_unknown_subject_raises_with_known_subjects(text):
    with pytest.raises(ValueError, match="known are user:…, member:…") as caught:
        parse_subject(text)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("key", "owned"),
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
def test_user_owns_keys_in_guilds_and_direct_messages(key, owned):
    assert Subject(Scope.USER, "9").owns(key) is owned


def test_guild_does_not_own_keys_of_members():
    assert Subject(Scope.GUILD, "7").owns(Key("roll", "guild", "7"))
    assert not Subject(Scope.GUILD, "7").owns(Key("roll", "member", "7-9"))

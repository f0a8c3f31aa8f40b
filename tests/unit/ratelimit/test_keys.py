"""The Redis keys of rate limits, and the subjects that operators name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.contracts.throttle import Scope, parse
from botctl.ratelimit import keys
from botctl.ratelimit.keys import (
    Key,
    Subject,
    display_name,
    find_policies,
    is_command,
    name_limits,
    parse_key,
    parse_subject,
    state_prefix,
)

_POLICIES = st.text(alphabet="ab:%3A .user-2*[é", min_size=1, max_size=15) | st.sampled_from(["user:user:9", "%3A"])
_LIMITS = st.sampled_from([f"{scope}{nth}" for scope in Scope for nth in ("", "-2", "-8")])
_SUBJECTS = st.from_regex(r"[0-9]{1,4}(-[0-9]{1,4})?|2001:db8::/64|dm-[0-9]{1,4}", fullmatch=True)


@given(_POLICIES, _LIMITS, _SUBJECTS)
def test_parse_key_is_the_inverse_of_state_prefix(policy, limit, subject):
    """Also with colons in the policy (components), scopes in its name, and IPv6 addresses."""
    key = f"{state_prefix('bot', policy, limit)}{subject}"
    assert parse_key("bot", key.encode()) == Key(policy, limit, subject)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ops status", {"ops status"}),
        ("/ops status", {"ops status"}),
        ("ops.status", {"ops status"}),
        ("user/ops.status", {"user/ops.status"}),
        ("ban", {"ban"}),
        ("user/ban", {"user/ban"}),
        ("Who is", {"user/Who is", "message/Who is"}),
        ("Who.is", {"user/Who is", "message/Who is"}),
        ("poll:vote", {"poll:vote"}),
        ("poll:form", {"modal/poll:form"}),
        ("todo.item:done", {"todo item:done"}),
        ("user/ban:sure", {"component/user/ban:sure"}),
        ("realtime.connect", {"realtime.connect"}),
        ("realtime connect", {"realtime connect"}),
        ("sure", set()),
        ("", set()),
    ],
)
def test_operator_names_a_policy_as_typed_or_shown(text, found):
    known = {
        *("ops status", "user/ops.status", "ban", "user/ban", "user/Who is", "message/Who is", "poll:vote"),
        *("modal/poll:form", "todo item:done", "component/user/ban:sure", "realtime.connect", "realtime connect"),
    }
    assert find_policies(text, known) == found


@pytest.mark.parametrize("policy", ["ban", "ops status", "user/Ban", "message/a:b", "user/poll:vote"])
def test_policy_of_a_command_is_recognised(policy):
    assert is_command(policy)


@pytest.mark.parametrize("policy", ["poll:vote", "component/user/Ban:x", "modal/poll:form", "autocomplete/x", "a:b/c"])
def test_policy_of_no_command_is_recognised(policy):
    assert not is_command(policy)


@pytest.mark.parametrize(
    ("policy", "shown"),
    [
        ("ops status", "ops.status"),
        ("todo item:done", "todo.item:done"),
        ("user/ops status", "user/ops status"),
        ("component/cog/My Shop:*", "component/cog/My Shop:*"),
    ],
)
def test_policy_is_shown_in_one_word_unless_it_has_a_kind(policy, shown):
    assert display_name(policy) == shown


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
    "text",
    [
        *("user:cat", "user:@bob", "user:123456789012345678901", "user:\uff19", "guild:home", "channel:general"),
        *("member:9", "member:7-bob", "address:cat", "address:10.0.0"),
    ],
)
def test_subject_that_cannot_exist_is_an_error(text):
    with pytest.raises(ValueError, match=r"write (user|guild|channel|member|address):"):
        parse_subject(text)


@pytest.mark.parametrize("text", ["guild:dm-9", "channel:dm-9", "member:dm-9-9", "address:local", "key:any-Name"])
def test_subject_of_a_direct_message_can_be_written(text):
    assert str(parse_subject(text)) == text


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

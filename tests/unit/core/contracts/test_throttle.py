"""The throttle grammar."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.contracts.invocation import Actor, Invocation, Kind
from botctl.core.contracts.throttle import (
    COMMAND_SCOPES,
    EXAMPLE,
    MAX_COUNT,
    MAX_REFILL_S,
    Limit,
    Scope,
    address_subject,
    format_limits,
    parse,
    subject,
)

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@st.composite
def limits(draw: st.DrawFn) -> Limit:
    period_ms = draw(st.integers(1, 400)) * draw(st.sampled_from(list(_UNITS_MS.values())))
    period_ms = min(period_ms, round(MAX_REFILL_S * 1000))
    count = draw(st.integers(1, min(MAX_COUNT, period_ms * 1000)))
    most = min(MAX_COUNT, int(MAX_REFILL_S * 1000 * count // period_ms))
    return Limit(count, period_ms / 1000, draw(st.sampled_from(Scope)), draw(st.integers(1, most)))


@given(st.lists(limits(), max_size=8, unique=True).map(tuple))
def test_parse_is_the_inverse_of_format(wanted):
    assert parse(format_limits(wanted), scopes=frozenset(Scope)) == wanted


@given(st.text(alphabet="0123456789/ smhdperuglbat,-.x\n\x00é٣", max_size=40))
def test_any_text_is_parsed_or_explained(text):
    """Nothing but ValueError comes out, and what is accepted says itself again in canonical form."""
    try:
        parsed = parse(text)
    except ValueError as error:
        sentence = str(error)
    else:
        sentence = EXAMPLE
        assert parse(format_limits(parsed)) == parsed
    assert EXAMPLE in sentence or "twice" in sentence or "at most" in sentence


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("5/10s per user", (Limit(5, 10.0, Scope.USER, 5),)),
        (" 5 / 10s  PER User ", (Limit(5, 10.0, Scope.USER, 5),)),
        ("5/m per guild", (Limit(5, 60.0, Scope.GUILD, 5),)),
        ("1/250ms burst 4 per channel", (Limit(1, 0.25, Scope.CHANNEL, 4),)),
        ("1/2h per member burst 3", (Limit(1, 7200.0, Scope.MEMBER, 3),)),
        ("9/1d global, 3/1s per global", (Limit(9, 86400.0, Scope.GLOBAL), Limit(3, 1.0, Scope.GLOBAL))),
    ],
)
def test_valid_limits_are_parsed(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "at_fault", "says"),
    [
        ("5 per user", "5 per user", "does not begin with a count and a period"),
        ("5/10s per user, fast", "fast", "does not begin"),
        ("5/10s per user,", "''", "does not begin"),
        ("5/10y per user", "5/10y per user", "unknown unit 'y'"),
        ("5/10s", "5/10s", "has no scope"),
        ("5/10s per dog", "per dog", "per 'dog', which is not known here"),
        ("5/10s per key", "per key", "per 'key', which is not known here"),
        ("5/10s per user per guild", "5/10s per user per guild", "cannot be read from 'per guild' on"),
        ("5/10s burst per user", "burst per user", "cannot be read from 'burst per user' on"),
        ("5/10s burst 0 per user", "burst 0", "burst between 1 and 1000000"),
        ("5/10s burst 2000000 per user", "burst 2000000", "burst between"),
        ("0/10s per user", "0/10s", "must count between"),
        ("5/0s per user", "5/0s", "period between 1 ms and 366 days"),
        ("5/367d per user", "5/367d", "period between"),
        ("1000000/1ms per user", "1000000/1ms", "more than one call per microsecond"),
        ("1/366d burst 2 per user", "burst 2", "more than 366 days to be full"),
        ("٣/10s per user", "/10s", "does not begin"),
        ("5/10s per user, 5/10s burst 5 per user", "5/10s per user", "twice"),
        (", ".join(f"{n}/1s per user" for n in range(1, 10)), "9", "at most 8"),
    ],
)
def test_error_shows_the_wrong_part(text, at_fault, says):
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert at_fault in str(caught.value)
    assert says in str(caught.value)


def test_error_cuts_and_escapes_the_wrong_part():
    with pytest.raises(ValueError) as caught:
        parse("\x1b[31m" + "x" * 5000)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 250


def invocation(guild="7", channel="8"):
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Invocation("1", Kind.SLASH, "roll", Actor("9", "ann"), at, 0.0, guild=guild, channel=channel)


@pytest.mark.parametrize(
    ("scope", "in_guild", "in_dm"),
    [
        (Scope.USER, "9", "9"),
        (Scope.GUILD, "7", "dm-9"),
        (Scope.MEMBER, "7-9", "dm-9-9"),
        (Scope.CHANNEL, "8", "dm-9"),
        (Scope.GLOBAL, "all", "all"),
        (Scope.KEY, None, None),
        (Scope.ADDRESS, None, None),
    ],
)
def test_subject_depends_on_scope_and_guild(scope, in_guild, in_dm):
    """In a direct message the person takes the guild's place; the API's scopes have no subject."""
    assert subject(scope, invocation()) == in_guild
    assert subject(scope, invocation(guild=None, channel=None)) == in_dm


def test_every_scope_of_commands_has_a_subject():
    assert all(subject(scope, invocation(None, None)) for scope in COMMAND_SCOPES)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", "local"),
        ("/run/botctl.sock", "local"),
    ],
)
def test_addresses_of_one_customer_share_a_subject(address, expected):
    assert address_subject(address) == expected

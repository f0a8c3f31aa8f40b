"""Guild settings: values and their validation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.contracts.guild_settings import (
    DEFAULTS,
    KEYS,
    GuildSettings,
    diff,
    plain,
    unknown,
    with_change,
)

SOME = GuildSettings("de", frozenset({"roll", "ops status"}), "123456789012345678", revision=4)


@pytest.mark.parametrize(
    ("key", "raw", "field"),
    [
        ("locale", "en-us", "en-US"),
        ("locale", "pt_br", "pt-BR"),
        ("locale", "none", None),
        ("locale", None, None),
        ("disabled", "poll, /whois", frozenset({"poll", "whois"})),
        ("disabled", ["ops  Status", "poll"], frozenset({"ops status", "poll"})),
        ("disabled", "+poll", frozenset({"poll", "roll", "ops status"})),
        ("disabled", "-roll, +poll", frozenset({"poll", "ops status"})),
        ("disabled", "-", frozenset()),
        ("disabled", [], frozenset()),
        ("log_channel", "<#876543210987654321>", "876543210987654321"),
        ("log_channel", " 876543210987654321 ", "876543210987654321"),
        ("log_channel", "none", None),
    ],
)
def test_accepted_value_changes_only_its_setting(key, raw, field):
    """One setting changes, the others and the revision stay."""
    new = with_change(SOME, key, raw)
    assert getattr(new, key) == field
    assert set(diff(SOME, new)) <= {key}
    assert new.revision == SOME.revision


@pytest.mark.parametrize(
    ("key", "raw", "says"),
    [
        ("colour", "red", "there is no guild setting 'colour'; there are locale, disabled, log_channel"),
        ("locale", "klingon", "'klingon' is not a locale of Discord"),
        ("disabled", "roll, +poll", "use either a full list or steps"),
        ("disabled", "no!", "'no!' is not the name of a command"),
        ("disabled", "roll,,poll", "'' is not the name of a command"),
        ("disabled", "settings", "cannot be disabled"),
        ("disabled", "+settings show", "cannot be disabled"),
        ("disabled", ", ".join(f"c{n}" for n in range(101)), "at most 100"),
        ("log_channel", "#general", "'#general' is not a channel"),
        ("log_channel", "٣" * 18, "is not a channel"),
    ],
)
def test_invalid_value_is_explained(key, raw, says):
    with pytest.raises(ValueError) as caught:
        with_change(SOME, key, raw)
    assert says in str(caught.value)


@given(st.sampled_from(KEYS), st.text(max_size=40))
def test_any_value_is_accepted_or_explained(key, raw):
    """What is accepted is stable: setting it again from its own words changes nothing."""
    try:
        new = with_change(DEFAULTS, key, raw)
    except ValueError:
        return
    assert with_change(new, key, plain(new)[key]) == new


def test_disabled_group_disables_its_sub_commands():
    settings = GuildSettings(disabled=frozenset({"ops", "poll close"}))
    assert not settings.allows("ops status")
    assert not settings.allows("poll close")
    assert settings.allows("poll open")
    assert settings.allows("opsx")


def test_diff_uses_json_types():
    new = with_change(SOME, "disabled", "b, a")
    assert diff(SOME, new) == {"disabled": (["ops status", "roll"], ["a", "b"])}


def test_unknown_disabled_commands_are_listed():
    settings = GuildSettings(disabled=frozenset({"ops", "ops status", "who is", "rol", "op", "roll x"}))
    assert unknown(settings, ["ops status", "Who is", "roll"]) == ["op", "rol", "roll x"]

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
from botctl.core.contracts.invocation import Kind

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
    assert not settings.allows(Kind.SLASH, "ops status")
    assert not settings.allows(Kind.SLASH, "poll close")
    assert settings.allows(Kind.SLASH, "poll open")
    assert settings.allows(Kind.SLASH, "opsx")
    assert settings.allows(Kind.USER, "ops status")


def test_diff_uses_json_types():
    new = with_change(SOME, "disabled", "b, a")
    assert diff(SOME, new) == {"disabled": (["ops status", "roll"], ["a", "b"])}


def test_unknown_disabled_commands_are_listed():
    disabled = {"ops", "ops status", "who is", "user/who is", "message/who is", "rol", "op", "roll x"}
    settings = GuildSettings(disabled=frozenset(disabled))
    policies = ["ops status", "user/Who is", "roll", "poll:op", "autocomplete/rol"]
    assert unknown(settings, policies) == ["message/who is", "op", "rol", "roll x"]


@pytest.mark.parametrize("name", ["user/ban", "message/report it!", "user/settings", "slash/ops cache", "who is"])
def test_command_is_disabled_by_its_name_and_kind(name: str):
    assert with_change(DEFAULTS, "disabled", name.title()).disabled == {name}


@pytest.mark.parametrize("name", ["slash/settings", "settings show", "user/", "other/ban", "user/" + "x" * 33])
def test_name_of_no_command_cannot_be_disabled(name: str):
    with pytest.raises(ValueError, match=r"name of a command|cannot be disabled"):
        with_change(DEFAULTS, "disabled", name)

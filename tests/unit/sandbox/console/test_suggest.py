"""Completions of a line, and autocomplete queries for the bot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.errors import UsageError
from botctl.sandbox.console.command_parser import parse_menu, parse_slash
from botctl.sandbox.console.schemas import StateSchema
from botctl.sandbox.console.suggest import AutocompleteQuery, Suggestion, autocomplete_query, complete

STATE = StateSchema.model_validate(
    {
        "guilds": [
            {
                "id": "1",
                "name": "home",
                "channels": [{"id": "2", "name": "general"}, {"id": "3", "name": "ops"}],
                "members": [{"id": "4", "name": "ann", "roles": ["moderator"]}, {"id": "5", "name": "bob brown"}],
            }
        ],
        "commands": [
            {"name": "ping", "type": 1, "description": "Answer"},
            {"name": "poll", "type": 1, "options": [{"name": "public", "type": 5}, {"name": "in", "type": 7}]},
            {"name": "pardon", "type": 1, "hidden": "/pardon is for administrators."},
            {"name": "Who is", "type": 2},
            {"name": "elsewhere", "type": 1, "guild_id": "99"},
            {
                "name": "settings",
                "type": 1,
                "options": [
                    {
                        "name": "set",
                        "type": 1,
                        "description": "Change one",
                        "options": [
                            {"name": "key", "type": 3, "autocomplete": True, "required": True},
                            {"name": "value", "type": 3, "description": "New value"},
                            {"name": "who", "type": 6},
                            {"name": "level", "type": 3, "choices": [{"name": "Very high", "value": "3"}]},
                        ],
                    },
                    {"name": "show", "type": 1},
                ],
            },
        ],
    }
)
HOME = STATE.guild("home")


def texts(line: str) -> list[str]:
    return [suggestion.text for suggestion in complete(line, len(line), STATE, HOME)]


def test_commands_of_the_guild_are_suggested() -> None:
    assert texts("/") == ["/ping", "/poll", "/settings"]
    assert complete("/pi", 3, STATE, HOME) == [Suggestion("/ping", 0, "Answer")]
    assert texts("/ll") == []
    assert texts("/ ping") == []


def test_subcommands_are_suggested_before_options() -> None:
    assert texts("/settings ") == ["set", "show"]
    assert complete("/settings se", 12, STATE, HOME) == [Suggestion("set", 10, "Change one")]
    assert texts("/settings set ") == ["key:", "value:", "who:", "level:"]
    assert texts("/settings set va") == ["value:"]
    assert texts("/settings set key:locale ") == ["value:", "who:", "level:"]
    assert texts('/settings set key:"locale"') == []
    assert texts('/settings set key:"locale" v') == ["value:"]
    assert texts("/settings nonsense key:") == []


def test_suggested_value_replaces_the_typed_value() -> None:
    assert complete("/settings set level:hi", 22, STATE, HOME) == [Suggestion('"Very high"', 20)]
    assert texts('/settings set level:"Very h') == ['"Very high"']
    assert texts("/settings set level:Very h") == ['"Very high"']
    assert texts("/settings set who:") == ["@ann", '"@bob brown"']
    assert texts("/settings set who:@b") == ['"@bob brown"']
    assert texts("/poll public:t") == ["true"]
    assert texts("/poll public:true in:") == ["#general", "#ops"]


def test_text_after_the_cursor_is_ignored() -> None:
    assert complete("/pi rest", 3, STATE, HOME) == [Suggestion("/ping", 0, "Answer")]


def test_people_and_channels_are_suggested_in_messages() -> None:
    assert texts("hello @a") == ["@ann"]
    assert texts("see #") == ["#general", "#ops"]
    assert texts("hello") == []


def test_autocomplete_value_makes_a_query() -> None:
    line = "/settings set value:de key:lo"
    assert autocomplete_query(line, len(line), STATE.commands) == AutocompleteQuery(
        "settings set", {"value": "de"}, "key", "lo", 27
    )


def test_other_positions_make_no_autocomplete_query() -> None:
    for line in (
        "/settings set value:de",
        '/settings set key:"a" ',
        "/settings",
        "hello key:lo",
        "/settings set key:a ",
    ):
        assert autocomplete_query(line, len(line), STATE.commands) is None


@given(st.text('/setingkyvalu who:"\\ ', max_size=40), st.integers(0, 40))
def test_suggestion_start_is_before_the_cursor(line: str, cursor: int) -> None:
    cursor = min(cursor, len(line))
    for text in (line, "/settings set " + line):
        for suggestion in complete(text, cursor, STATE, HOME):
            assert 0 <= suggestion.start <= cursor


TWO = StateSchema.model_validate(
    {
        "guilds": [{"id": "1", "name": "home", "roles": [{"id": "6", "name": "Moderator"}]}],
        "bots": [{"application_id": "10", "name": "dice"}, {"application_id": "11", "name": "my other bot"}],
        "commands": [
            {"name": "ping", "type": 1, "application_id": "10", "options": [{"name": "who", "type": 8}]},
            {"name": "ping", "type": 1, "application_id": "11"},
            {"name": "roll", "type": 1, "application_id": "10"},
            {"name": "warn", "type": 1, "application_id": "10", "hidden": "only for moderators"},
            {"name": "warn", "type": 1, "application_id": "11"},
        ],
    }
)


def test_commands_with_same_name_are_qualified_by_bot() -> None:
    """A bot with spaces in its name is named by its id; hidden commands do not count."""
    guild = TWO.guild("home")
    assert [one.text for one in complete("/", 1, TWO, guild)] == ["/ping@dice", "/ping@11", "/roll", "/warn"]
    commands = TWO.commands_in(guild)
    assert parse_slash("/ping@dice", commands).name == "ping@dice"
    assert parse_slash("/roll@dice", commands).name == "roll@dice"
    with pytest.raises(UsageError, match="Several bots have /ping") as caught:
        parse_slash("/ping", commands)
    assert caught.value.hint == "Write /ping@dice or /ping@11."


def test_roles_of_the_guild_are_suggested() -> None:
    line = "/ping@dice who:"
    assert [one.text for one in complete(line, len(line), TWO, TWO.guild("home"))] == ["@Moderator"]


def test_hidden_command_is_not_suggested() -> None:
    with pytest.raises(UsageError) as caught:
        parse_slash("/secre", [{"name": "secret", "type": 1, "hidden": "not for you"}])
    assert "secret" not in caught.value.hint


GREET = StateSchema.model_validate(
    {
        "commands": [
            {
                "name": "greet",
                "name_localizations": {"de": "gruss"},
                "description": "Greet",
                "description_localizations": {"de": "Grüßen"},
                "options": [
                    {"name": "who", "type": 3, "required": True, "name_localizations": {"de": "wen"}},
                    {"name": "how", "type": 3, "choices": [{"name": "loud", "name_localizations": {"de": "laut"}}]},
                ],
            },
            {"name": "Copy", "type": 3, "name_localizations": {"de": "Abschreiben"}},
        ]
    }
)


@pytest.mark.parametrize(
    ("line", "offered"), [("/", "/gruss"), ("/gruss w", "wen:"), ("/greet w", "wen:"), ("/gruss how:", "laut")]
)
def test_suggestions_are_in_the_users_language(line: str, offered: str) -> None:
    assert [one.text for one in complete(line, len(line), GREET, None, "de")] == [offered]
    assert offered not in [one.text for one in complete(line, len(line), GREET)]


def test_translated_command_is_parsed_by_either_name() -> None:
    german = GREET.commands_in(None, "de")
    for line in ("/gruss wen:a b how:laut", "/greet who:a b how:laut"):
        assert parse_slash(line, german).options == {"wen": "a b", "how": "laut"}
    with pytest.raises(UsageError, match="The option wen is given twice"):
        parse_slash("/gruss wen:a who:b", german)
    assert parse_menu("copy", "last", german) == parse_menu("Abschreiben", "last", german)
    with pytest.raises(UsageError, match='no command "/gruss"'):
        parse_slash("/gruss wen:a", GREET.commands_in(None, "fr"))

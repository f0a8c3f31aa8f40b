"""Slash commands are parsed as in Discord's client, and wrong lines get a message."""

from __future__ import annotations

import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.errors import UsageError
from botctl.sandbox.console.command_parser import MenuCall, SlashCall, format_call, parse_menu, parse_slash

STRING, INTEGER = 3, 4


def option(name: str, kind: int = STRING, **more: object) -> dict[str, object]:
    return {"name": name, "type": kind, "description": f"The {name}", **more}


COMMANDS = [
    {"name": "ping", "type": 1, "description": "Answer"},
    {"name": "roll", "type": 1, "options": [option("sides", INTEGER), option("count", INTEGER)]},
    {
        "name": "settings",
        "options": [
            {"name": "set", "type": 1, "options": [option("key", required=True), option("value", required=True)]},
            {"name": "show", "type": 1},
            {"name": "log", "type": 2, "options": [{"name": "off", "type": 1, "options": [option("why")]}]},
        ],
    },
    {"name": "Who is", "type": 2},
    {"name": "Translate", "type": 3},
]


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("/ping", SlashCall("ping")),
        ("/ping  ", SlashCall("ping")),
        ("/roll sides:20", SlashCall("roll", {"sides": "20"})),
        ("/roll  count:2   sides:20 ", SlashCall("roll", {"count": "2", "sides": "20"})),
        ("/settings show", SlashCall("settings show")),
        ("/settings log off why:too loud", SlashCall("settings log off", {"why": "too loud"})),
        ('/settings set key:locale value:"de DE"', SlashCall("settings set", {"key": "locale", "value": "de DE"})),
        ("/settings set key:the log value:#ops", SlashCall("settings set", {"key": "the log", "value": "#ops"})),
        ("/settings set key:x value:http://a:1", SlashCall("settings set", {"key": "x", "value": "http://a:1"})),
        (
            r'/settings set key:"a \"b\" \\ value:c" value:@ann',
            SlashCall("settings set", {"key": 'a "b" \\ value:c', "value": "@ann"}),
        ),
        ('/settings log off why:""', SlashCall("settings log off", {"why": ""})),
        ('/settings log off why:5" disk', SlashCall("settings log off", {"why": '5" disk'})),
    ],
)
def test_slash_command_is_parsed(text: str, call: SlashCall) -> None:
    assert parse_slash(text, COMMANDS) == call


@pytest.mark.parametrize(
    ("text", "sentence", "hint"),
    [
        ("/", "A command's name must follow the slash.", "The commands are: /ping, /roll, /settings."),
        ("/rol sides:2", 'There is no command "/rol" here.', "Did you mean /roll?"),
        ("/Ping", 'There is no command "/Ping" here.', "Did you mean /ping?"),
        ("/Who is", 'There is no command "/Who" here.', "The commands are: /ping, /roll, /settings."),
        ("/settings", "/settings needs a sub-command.", "The sub-commands are: set, show, log."),
        ("/settings sett", '/settings has no sub-command "sett".', "Did you mean set?"),
        ("/settings log", "/settings log needs a sub-command.", "The sub-commands are: off."),
        ("/ping loud:yes", '/ping has no options, so "loud:yes" cannot follow.', ""),
        ("/roll side:20", '/roll has no option "side".', "Did you mean sides?"),
        ("/roll zzz:20", '/roll has no option "zzz".', "Its options are: sides, count."),
        ("/roll 20", '"20" belongs to no option of /roll.', "Write: sides:20"),
        ("/roll sides:", "The option sides has no value.", 'Write sides:"" to send an empty one.'),
        ("/roll sides:2 sides:3", "The option sides is given twice.", ""),
        ('/roll sides:"2', "The quoted value of sides has no closing quote.", None),
        ('/roll sides:"2"0', "The quoted value of sides has no closing quote.", None),
        ("/settings set key:a", "/settings set also needs value.", "Write: /settings set value:…"),
        (
            "/settings set key:a valeu:b",
            '/settings set has no option "valeu".',
            'Did you mean value? If "valeu:" is part of key, put the value in quotes.',
        ),
    ],
)
def test_wrong_line_gets_message_and_hint(text: str, sentence: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        parse_slash(text, COMMANDS)
    assert str(caught.value) == sentence
    assert hint is None or caught.value.hint == hint


def test_bot_without_commands_gets_its_own_hint() -> None:
    with pytest.raises(UsageError) as caught:
        parse_slash("/ping", [])
    assert caught.value.hint == "The bot has not registered any command yet."


values = st.text() | st.text('ab: "\\\n')
names = st.text(string.ascii_lowercase + "-_äé", min_size=1, max_size=8)


@st.composite
def commands_and_calls(draw: st.DrawFn) -> tuple[list[dict[str, object]], SlashCall]:
    """Commands of any depth, and a call of one of them with any values."""
    options = [option(name) for name in draw(st.lists(names, max_size=4, unique=True))]
    path = draw(st.lists(names, min_size=1, max_size=3))
    node: dict[str, object] = {"name": path[-1], "type": 1, "options": options}
    for depth, name in enumerate(reversed(path[:-1])):
        node = {"name": name, "type": 2 if depth < len(path) - 2 else 1, "options": [node]}
    others = [{"name": name, "type": 1} for name in draw(st.lists(names, max_size=3)) if name != path[0]]
    chosen = draw(st.lists(st.sampled_from(options), unique_by=lambda o: str(o["name"])) if options else st.just([]))
    return [*others, node], SlashCall(" ".join(path), {str(o["name"]): draw(values) for o in chosen})


@given(commands_and_calls())
def test_formatted_call_parses_back_to_same_call(case: tuple[list[dict[str, object]], SlashCall]) -> None:
    commands, call = case
    assert parse_slash(format_call(call), commands) == call


@given(st.text() | st.text('/ps:"\\ etaingkyvlu'))
def test_any_text_is_a_call_or_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert parse_slash("/" + text, COMMANDS).name


def test_context_menu_names_ignore_case() -> None:
    assert parse_menu("who is", "@ann", COMMANDS) == MenuCall("Who is", "@ann", on_message=False)
    assert parse_menu("Translate", "1234", COMMANDS) == MenuCall("Translate", "1234", on_message=True)


def test_unknown_context_menu_command_is_refused() -> None:
    with pytest.raises(UsageError, match='There is no message command "Who is"') as caught:
        parse_menu("Who is", "1234", COMMANDS)
    assert caught.value.hint == "The commands are: Translate."

"""Rendered replies, at 60 columns and without colour."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from botctl.cli.sandbox import view
from botctl.cli.sandbox.markdown import render_inline, render_markdown
from botctl.sandbox.console.schemas import MessageSchema, ModalSchema, ReplySchema, StateSchema

NAMES = {"1": "@ann", "2": "#general", "3": "@Moderator"}


def text(what: RenderableType, *, colour: bool = False) -> str:
    out = io.StringIO()
    system = "truecolor" if colour else None
    Console(file=out, width=60, color_system=system, force_terminal=colour, legacy_windows=False).print(what)
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip("\n").split("\n"))


def message(**more: Any) -> MessageSchema:
    return MessageSchema.model_validate({"id": "9", "author": {"id": "5", "name": "dice", "bot": True}, **more})


def reply(**more: Any) -> str:
    return text(view.render_reply(ReplySchema.model_validate(more), NAMES))


def test_reply_with_all_parts_is_rendered() -> None:
    shown = message(
        content="You rolled **17**.",
        ephemeral=True,
        edited=True,
        type=20,
        interaction={"user": "ann", "name": "roll"},
        embeds=[
            {
                "title": "Statistics",
                "description": "of <@1>",
                "color": 0xFF0000,
                "fields": [
                    {"name": "Best", "value": "20", "inline": True},
                    {"name": "Worst", "value": "1", "inline": True},
                    {"name": "Note", "value": "two\nlines"},
                ],
                "footer": {"text": "since Monday"},
            }
        ],
        attachments=[{"filename": "rolls.csv", "size": 2300, "url": "http://127.0.0.1/rolls.csv"}],
        components=[
            {
                "type": 1,
                "components": [
                    {"type": 2, "style": 1, "label": "Again", "custom_id": "a"},
                    {"type": 2, "style": 4, "label": "Stop", "custom_id": "s", "disabled": True},
                    {"type": 2, "style": 5, "label": "Docs", "url": "https://example.org"},
                ],
            },
            {
                "type": 1,
                "components": [
                    {
                        "type": 3,
                        "custom_id": "c",
                        "placeholder": "Pick a colour",
                        "min_values": 1,
                        "max_values": 2,
                        "options": [
                            {"label": "Red", "value": "r", "default": True},
                            {"label": "Blue", "value": "b", "description": "as the sky"},
                        ],
                    }
                ],
            },
        ],
    )
    assert reply(state="replied", messages=[shown]) == (
        "dice BOT · ann used /roll (edited)\n"
        "  You rolled 17.\n"
        "  ▌ Statistics\n"
        "  ▌ of @ann\n"
        "  ▌ Best               Worst\n"
        "  ▌ 20                 1\n"
        "  ▌ Note\n"
        "  ▌ two\n"
        "  ▌ lines\n"
        "  ▌ since Monday\n"
        "  ▤ rolls.csv  2.3 kB  http://127.0.0.1/rolls.csv\n"
        "  [ Again ]  ( Stop )  [ Docs ↗ ]\n"
        "  ▾ Pick a colour  choose 1 to 2\n"
        "   • 1  Red\n"
        "     2  Blue  as the sky\n"
        "  Only you can see this"
    )


def test_embed_bar_has_the_embed_colour() -> None:
    shown = text(view.render_embed({"title": "Hi", "color": 0x0A0B0C}, NAMES), colour=True)
    assert "\x1b[38;2;10;11;12m▌ " in shown


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        ({"state": "no_answer"}, "The application did not respond"),
        ({"state": "deferred", "waited_ms": 5000}, "The bot is thinking… and has not responded within 5.0 s"),
        ({"state": "deferred_update"}, "The bot has acknowledged it; no message has changed"),
        ({"state": "refused", "error": "“sides” must be at least 2."}, "“sides” must be at least 2."),
    ],
)
def test_states_without_message_are_described(answer: dict[str, Any], seen: str) -> None:
    assert reply(**answer) == seen
    assert ReplySchema.model_validate(answer).answered is (answer["state"] == "deferred_update")


def test_modal_is_rendered_as_a_form() -> None:
    form = ModalSchema.model_validate(
        {
            "id": "1",
            "title": "Feedback",
            "fields": [
                {"custom_id": "subject", "label": "Subject", "style": 1, "placeholder": "in short"},
                {"custom_id": "text", "label": "What happened?", "style": 2, "required": False, "value": "a\nb"},
                {
                    "custom_id": "how",
                    "label": "How?",
                    "required": False,
                    "options": [{"label": "Well"}, {"label": "Ill"}],
                },
            ],
        }
    )
    assert text(view.render_modal(form)) == (
        "╭─ Feedback ───────────────────────────────────────────────╮\n"
        "│ Subject *  subject                                       │\n"
        "│ │ in short                                               │\n"
        "│ What happened?  text                                     │\n"
        "│ │ a                                                      │\n"
        "│ │ b                                                      │\n"
        "│ How?  how                                                │\n"
        "│ │ one of: Well, Ill                                      │\n"
        "╰─ * required ─────────────────────────────────────────────╯"
    )


def test_unknown_component_is_shown_by_its_type() -> None:
    shown = [
        {
            "type": 17,
            "components": [
                {"type": 9, "components": [{"type": 10, "content": "# Hi"}], "accessory": {"type": 2, "label": "Go"}},
                {"type": 14},
                {"type": 12, "items": [{"media": {"url": "http://a/b.png"}}]},
            ],
        },
        {"type": 8, "custom_id": "where"},
        {"type": 99},
    ]
    assert reply(state="updated", messages=[message(components=shown)]).split("\n")[1:] == [
        "  ▌ Hi",
        "  ▌ [ Go ]",
        "  ▌ ────────────────────",
        "  ▌ ▣ http://a/b.png",
        "  ▾ where  choose 1 #channels",
        "  (a component of type 99)",
    ]


def test_display_names_come_from_all_guilds() -> None:
    state = StateSchema.model_validate(
        {
            "guilds": [
                {
                    "id": "7",
                    "name": "home",
                    "channels": [{"id": "2", "name": "general"}],
                    "members": [{"id": "1", "name": "ann"}],
                    "roles": [{"id": "3", "name": "Moderator"}, {"id": "7", "name": "@everyone"}],
                }
            ]
        }
    )
    assert view.display_names(state) == {**NAMES, "7": "@everyone"}


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("*a* _b_ **c** __d__ ~~e~~ ||f|| `g*h*` ***i***", "a b c d e f g*h* i"),
        ("snake_case_name and 2 * 3 * 4", "snake_case_name and 2 * 3 * 4"),
        (r"\*not\* this", "*not* this"),
        ("<@1> <@!1> <#2> <@&3> <@4>", "@ann @ann #general @Moderator <@4>"),
        ("<:wave:123> </ops status:55> <t:1700000000:R>", ":wave: /ops status 2023-11-14 22:13 UTC"),
        ("[docs](https://a.b) <https://c.d>", "docs (https://a.b) https://c.d"),
        ("## Title\n-# small\n> quoted\n- item\n  * inner", "Title\nsmall\n▎ quoted\n• item\n  • inner"),
        ("before\n```py\nx = 1\n\n**y**\n```after", "before\n  x = 1\n\n  **y**\nafter"),
        ("one\n\ntwo", "one\n\ntwo"),
        ("**bold with <@1> inside**", "bold with @ann inside"),
    ],
)
def test_markdown_is_rendered(written: str, seen: str) -> None:
    assert text(render_markdown(written, NAMES)) == seen


def test_markdown_marks_become_styles() -> None:
    shown = render_markdown("a **b** `c`", NAMES)
    assert [(shown.plain[span.start : span.end], span.style) for span in shown.spans] == [("b", "bold"), ("c", "cyan")]


def test_untrusted_text_cannot_control_the_terminal() -> None:
    evil = "[red]\x1b[31mX\x07\u202eY[/red] :boom:"
    shown = message(
        content=evil,
        author={"id": "5", "name": evil, "bot": True},
        interaction={"user": evil, "name": evil},
        embeds=[{"title": evil, "fields": [{"name": evil, "value": evil}], "footer": {"text": evil}}],
        attachments=[{"filename": evil}],
        components=[{"type": 1, "components": [{"type": 2, "label": evil}]}],
    )
    form = {"id": "1", "title": evil, "fields": [{"custom_id": evil, "label": evil, "placeholder": evil}]}
    seen = reply(state="refused", messages=[shown], modal=form, error=evil)
    assert not {"\x1b", "\x07", "\u202e"} & set(seen)
    assert r"[red]\x1b[31mX\x07\u202eY[/red] :boom:" in seen


@given(st.text() | st.text("*_~|`<>@#[]()\\ab1:/t\n-", max_size=60))
def test_any_text_is_rendered_without_control_characters(content: str) -> None:
    shown = text(render_markdown(content, NAMES))
    assert all(char == "\n" or char.isprintable() or char in "\u200c\u200d" for char in shown)


def test_unclosed_marks_are_rendered_fast() -> None:
    assert render_inline("*a " * 1300, NAMES).plain == "*a " * 1300


@pytest.mark.parametrize(
    "content",
    ["*_" * 1000, "*_" * 500 + "x" + "_*" * 500, "**~~" * 500 + "x" + "~~**" * 500, "> " * 1000 + "||__" * 500],
)
def test_marks_nested_a_thousand_times_are_rendered(content: str) -> None:
    assert text(render_markdown(content, NAMES))


def test_nested_marks_have_all_their_styles() -> None:
    (whole,) = render_inline("**a *b*: ~~c~~**", NAMES, "dim").split("\n")
    styles = {whole.plain[span.start : span.end]: str(span.style) for span in whole.spans}
    assert (whole.plain, whole.style) == ("a b: c", "dim")
    assert styles == {"a ": "bold", "b": "bold italic", ": ": "bold", "c": "bold strike"}


def test_deferred_reply_and_thread_start_are_labelled() -> None:
    asked = {"interaction": {"user": "ann", "name": "slow"}, "type": 20}
    assert text(view.render_message(message(**asked), NAMES)) == "dice BOT · ann used /slow · thinking…"
    assert text(view.render_message(message(**asked, content="done"), NAMES)) == "dice BOT · ann used /slow\n  done"
    assert text(view.render_message(message(type=21), NAMES)) == "dice BOT · the thread starts here"


def test_message_lines_have_no_trailing_spaces() -> None:
    """A narrower terminal would wrap them."""
    field = {"name": "a", "value": "b", "inline": True}
    out = io.StringIO()
    shown = message(content="short", embeds=[{"description": "wide enough", "fields": [field, field]}])
    Console(file=out, width=60, color_system=None).print(view.render_message(shown, NAMES))
    assert [line for line in out.getvalue().split("\n") if line != line.rstrip()] == []


def test_generated_custom_id_is_replaced_by_the_label() -> None:
    form = ModalSchema.model_validate({"id": "1", "fields": [{"custom_id": "0af" * 10 + "12", "label": "Your name"}]})
    assert form.fields[0].input_name == "Your name"
    assert "0af" not in text(view.render_modal(form))

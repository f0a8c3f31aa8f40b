"""Prints the result of a line at the sandbox prompt, or of one command, as text or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from botctl.cli.json_output import print_json
from botctl.cli.output import show
from botctl.cli.sandbox import view
from botctl.cli.sandbox.markdown import escape_line
from botctl.core.errors import BotctlError
from botctl.core.escape import escape_unprintable
from botctl.sandbox.console.command_parser import quote
from botctl.sandbox.console.repl_commands import LineResult, Notice, Quit
from botctl.sandbox.console.schemas import ReplySchema, Schema
from botctl.sandbox.console.user_session import UserSession
from botctl.sandbox.model.messages.components import SELECTS, clickable, display_name


def print_result(result: LineResult, session: UserSession, *, as_json: bool = False) -> bool:
    """Print ``result``; return whether the bot has answered."""
    if as_json:
        print_json(_to_json(result))
    else:
        show(render_result(result, session))
    return not isinstance(result, ReplySchema) or result.answered


def render_result(result: LineResult, session: UserSession) -> RenderableType:
    match result:
        case ReplySchema():
            return view.render_reply(result, view.display_names(session.state))
        case Notice():
            return Text("\n").join(Text(escape_line(line), "dim") for line in result.text.split("\n"))
        case Quit():
            return Text()
    return (
        view.render_messages(result, view.display_names(session.state))
        if result
        else Text("There are no messages here yet.", "dim")
    )


def render_error(error: BotctlError) -> Text:
    """Render an error that does not end the session."""
    text = Text("\n").join(Text(escape_unprintable(line), "red") for line in str(error).splitlines())
    return text.append(f"\n  → {escape_unprintable(error.hint)}", "not red dim") if error.hint else text


def print_next_command(result: LineResult) -> None:
    """Print the command that submits the opened form, or that chooses in the first select menu."""
    if not isinstance(result, ReplySchema):
        return
    if result.modal:
        fields = " ".join(quote(f"{field.input_name}=…") for field in result.modal.fields)
        _print_hint(f"Submit it with: botctl sandbox submit {fields}")
        return
    components = [item for message in result.messages for item in clickable(list(message.components))]
    if menu := next((item for item in components if item["type"] in SELECTS and not item.get("disabled")), None):
        _print_hint(
            f"Choose with: botctl sandbox click {quote(display_name(menu))} {'1' if menu.get('options') else '…'}"
        )


def _print_hint(text: str) -> None:
    show(Text(escape_line(text), "dim"), stderr=True)


def _to_json(result: LineResult) -> Any:
    if isinstance(result, Schema):
        return result.model_dump(mode="json", by_alias=True)
    if isinstance(result, Sequence):
        return [message.model_dump(mode="json", by_alias=True) for message in result]
    return {"note": result.text} if isinstance(result, Notice) else None

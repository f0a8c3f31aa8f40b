"""Printing what came of a line: for a person, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from botctl.cli.output import show
from botctl.cli.sandbox import view
from botctl.cli.sandbox.markdown import plain
from botctl.core.errors import BotctlError
from botctl.core.escape import escape_unprintable
from botctl.sandbox.console.command_parser import quote
from botctl.sandbox.console.repl_commands import Leave, Note, Outcome
from botctl.sandbox.console.schemas import ReplySchema, Schema
from botctl.sandbox.console.user_session import UserSession
from botctl.sandbox.model.messages.components import SELECTS, clickable, name_of


def put(outcome: Outcome, talk: UserSession, *, as_json: bool = False) -> bool:
    """Print ``outcome``; returns whether the person got what they asked for."""
    if as_json:
        print(json.dumps(_json(outcome), ensure_ascii=False))
    else:
        show(shown(outcome, talk))
    return not isinstance(outcome, ReplySchema) or outcome.answered


def shown(outcome: Outcome, talk: UserSession) -> RenderableType:
    match outcome:
        case ReplySchema():
            return view.reply(outcome, view.names(talk.state))
        case Note():
            return Text("\n").join(Text(plain(line), "dim") for line in outcome.text.split("\n"))
        case Leave():
            return Text()
    return view.messages(outcome, view.names(talk.state)) if outcome else Text("Nothing was said here yet.", "dim")


def trouble(error: BotctlError) -> Text:
    """An error that does not end the session."""
    text = Text("\n").join(Text(escape_unprintable(line), "red") for line in str(error).splitlines())
    return text.append(f"\n  → {escape_unprintable(error.hint)}", "not red dim") if error.hint else text


def tell_how_to_go_on(outcome: Outcome) -> None:
    """The call that fills in the form that has opened, or that chooses in the first menu that came."""
    if not isinstance(outcome, ReplySchema):
        return
    if outcome.modal:
        fields = " ".join(quote(f"{field.typed}=…") for field in outcome.modal.fields)
        _tell(f"Send it with: botctl sandbox submit {fields}")
        return
    there = [one for message in outcome.messages for one in clickable(list(message.components))]
    if menu := next((one for one in there if one["type"] in SELECTS and not one.get("disabled")), None):
        _tell(f"Choose with: botctl sandbox click {quote(name_of(menu))} {'1' if menu.get('options') else '…'}")


def _tell(what: str) -> None:
    show(Text(plain(what), "dim"), stderr=True)


def _json(outcome: Outcome) -> Any:
    if isinstance(outcome, Schema):
        return outcome.model_dump(mode="json", by_alias=True)
    if isinstance(outcome, Sequence):
        return [message.model_dump(mode="json", by_alias=True) for message in outcome]
    return {"note": outcome.text} if isinstance(outcome, Note) else None

"""Printing what came of a line: for a person, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from botctl.cli import sandbox_view as view
from botctl.cli.output import show
from botctl.cli.sandbox_markdown import plain
from botctl.core.errors import BotctlError
from botctl.core.escape import visible
from botctl.sandbox.conversation import Conversation
from botctl.sandbox.shapes import Modal, Reply, Shape
from botctl.sandbox.words import Leave, Note, Outcome


def put(outcome: Outcome, talk: Conversation, *, as_json: bool = False) -> bool:
    """Print ``outcome``; returns whether the person got what they asked for."""
    if as_json:
        print(json.dumps(_json(outcome), ensure_ascii=False))
    else:
        show(shown(outcome, talk))
    return not isinstance(outcome, Reply) or outcome.answered


def shown(outcome: Outcome, talk: Conversation) -> RenderableType:
    match outcome:
        case Reply():
            return view.reply(outcome, view.names(talk.state))
        case Note():
            return Text("\n").join(Text(plain(line), "dim") for line in outcome.text.split("\n"))
        case Leave():
            return Text()
    return view.messages(outcome, view.names(talk.state))


def trouble(error: BotctlError) -> Text:
    """An error that does not end the session."""
    text = Text("\n").join(Text(visible(line), "red") for line in str(error).splitlines())
    return text.append(f"\n  → {visible(error.hint)}", "not red dim") if error.hint else text


def tell_how_to_submit(form: Modal) -> None:
    fields = " ".join(f"{field.custom_id}=…" for field in form.fields)
    show(Text(plain(f"Send it with: botctl sandbox submit {fields}"), "dim"), stderr=True)


def _json(outcome: Outcome) -> Any:
    if isinstance(outcome, Shape):
        return outcome.model_dump(mode="json", by_alias=True)
    if isinstance(outcome, Sequence):
        return [message.model_dump(mode="json", by_alias=True) for message in outcome]
    return {"note": outcome.text} if isinstance(outcome, Note) else None

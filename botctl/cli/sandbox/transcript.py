"""Transcripts of ``botctl sandbox``: written as one types, and typed again by ``botctl sandbox replay``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

from rich.text import Text

from botctl.cli.output import render_plain, show
from botctl.cli.sandbox.connection import text_of
from botctl.cli.sandbox.output import shown, trouble
from botctl.core.errors import BotctlError, Unreachable
from botctl.sandbox.console.command_parser import quote
from botctl.sandbox.console.repl import run
from botctl.sandbox.console.repl_commands import Leave, Outcome
from botctl.sandbox.console.schemas import ModalSchema
from botctl.sandbox.console.transcript import Exchange, begun, difference, read, seat_of, written
from botctl.sandbox.console.user_session import UserSession

_COLOURS = {"+": "green", "-": "red"}


class Transcript:
    """A file that grows with each line that is typed; without a file, nothing."""

    def __init__(self, file: IO[str] | None = None) -> None:
        self._file = file

    def begin(self, talk: UserSession) -> None:
        """Note where the person is before anything is typed."""
        if self._file is not None:
            self._file.write(begun(talk.seat))

    def note(self, typed: str, came: Outcome | BotctlError, talk: UserSession) -> None:
        if self._file is not None and not isinstance(came, Leave):
            self._file.write(written(Exchange(typed.strip(), _lines(came, talk))))
            self._file.flush()

    def note_form(
        self, form: ModalSchema, fields: dict[str, str], came: Outcome | BotctlError, talk: UserSession
    ) -> None:
        """A form that was filled in at the prompt is a line that sends it."""
        pairs = " ".join(quote(f"{field.typed}={fields[field.custom_id]}") for field in form.fields)
        self.note(f":submit {pairs}", came, talk)


@contextlib.contextmanager
def transcript(path: Path | None) -> Iterator[Transcript]:
    """The transcript in ``path``, begun anew. Raises BotctlError when it cannot be written."""
    if path is None:
        yield Transcript()
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise BotctlError(f"The transcript {path} cannot be written: {error.strerror}.") from None
    with file:
        yield Transcript(file)


async def replayed(path: Path, talk: UserSession) -> bool:
    """Type all lines of ``path`` and print where something else came; whether nothing did.

    The first is typed where the transcript began, as far as ``talk`` names no other person or place.
    """
    text = text_of("transcript", path)
    expected, began = read(text), seat_of(text)
    talk.seat = replace(
        talk.seat,
        name=talk.seat.name or began.name,
        channel=talk.seat.channel or began.channel,
        guild=talk.seat.guild or began.guild,
    )
    await talk.settle()
    wrong = 0
    for turn in expected:
        came = await _outcome(talk, turn.typed)
        if lines := difference(turn, _lines(came, talk)):
            wrong += 1
            show(Text(f"> {turn.typed}"), *(Text(line, _COLOURS.get(line[:1], "")) for line in lines))
    show(
        Text(
            f"{wrong} of {len(expected)} lines were answered otherwise."
            if wrong
            else f"{len(expected)} line{'' if len(expected) == 1 else 's'}: as before."
        )
    )
    return not wrong


async def _outcome(talk: UserSession, line: str) -> Outcome | BotctlError:
    try:
        return await run(talk, line)
    except Unreachable:
        raise
    except BotctlError as error:
        return error


def _lines(came: Outcome | BotctlError, talk: UserSession) -> list[str]:
    found = trouble(came) if isinstance(came, BotctlError) else shown(came, talk)
    return render_plain(found).split("\n")

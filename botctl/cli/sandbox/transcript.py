"""Writes transcripts of ``botctl sandbox``, and replays them for ``botctl sandbox replay``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

from rich.text import Text

from botctl.cli.output import render_plain, show
from botctl.cli.sandbox.connection import read_text
from botctl.cli.sandbox.output import render_error, render_result
from botctl.core.errors import BotctlError, Unreachable
from botctl.sandbox.console.command_parser import quote
from botctl.sandbox.console.repl import run_line
from botctl.sandbox.console.repl_commands import LineResult, Quit
from botctl.sandbox.console.schemas import ModalSchema
from botctl.sandbox.console.transcript import (
    Exchange,
    diff_output,
    format_exchange,
    format_header,
    parse_header,
    parse_transcript,
)
from botctl.sandbox.console.user_session import UserSession

_COLOURS = {"+": "green", "-": "red"}


class TranscriptWriter:
    """Appends each input and its output to a file; does nothing without a file."""

    def __init__(self, file: IO[str] | None = None) -> None:
        self._file = file

    def write_header(self, session: UserSession) -> None:
        if self._file is not None:
            self._file.write(format_header(session.identity))

    def record(self, typed: str, result: LineResult | BotctlError, session: UserSession) -> None:
        if self._file is not None and not isinstance(result, Quit):
            self._file.write(format_exchange(Exchange(typed.strip(), _output_lines(result, session))))
            self._file.flush()

    def record_modal(
        self, modal: ModalSchema, fields: dict[str, str], result: LineResult | BotctlError, session: UserSession
    ) -> None:
        """Record a modal that was filled in at the prompt as a ``:submit`` line."""
        pairs = " ".join(quote(f"{field.input_name}={fields[field.custom_id]}") for field in modal.fields)
        self.record(f":submit {pairs}", result, session)


@contextlib.contextmanager
def open_transcript(path: Path | None) -> Iterator[TranscriptWriter]:
    """Open ``path`` for a new transcript. Raises BotctlError when it cannot be written."""
    if path is None:
        yield TranscriptWriter()
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise BotctlError(f"The transcript {path} cannot be written: {error.strerror}.") from None
    with file:
        yield TranscriptWriter(file)


async def replay_transcript(path: Path, session: UserSession) -> bool:
    """Run all inputs of a transcript and print differences; return whether there are none.

    The user and place are those of the transcript's header, unless ``session`` has others.
    """
    text = read_text("transcript", path)
    expected, start = parse_transcript(text), parse_header(text)
    session.identity = replace(
        session.identity,
        name=session.identity.name or start.name,
        channel=session.identity.channel or start.channel,
        guild=session.identity.guild or start.guild,
    )
    await session.resolve_defaults()
    changed = 0
    for exchange in expected:
        result = await _run_line(session, exchange.typed)
        if lines := diff_output(exchange, _output_lines(result, session)):
            changed += 1
            show(Text(f"> {exchange.typed}"), *(Text(line, _COLOURS.get(line[:1], "")) for line in lines))
    show(
        Text(
            f"{changed} of {len(expected)} lines have other output."
            if changed
            else f"{len(expected)} line{'' if len(expected) == 1 else 's'}: no differences."
        )
    )
    return not changed


async def _run_line(session: UserSession, line: str) -> LineResult | BotctlError:
    try:
        return await run_line(session, line)
    except Unreachable:
        raise
    except BotctlError as error:
        return error


def _output_lines(result: LineResult | BotctlError, session: UserSession) -> list[str]:
    rendered = render_error(result) if isinstance(result, BotctlError) else render_result(result, session)
    return render_plain(rendered).split("\n")

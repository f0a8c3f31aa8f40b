"""The prompt of ``botctl sandbox``: Discord in a terminal. Ctrl-C clears the line or stops waiting, Ctrl-D leaves."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.styles import Style
from prompt_toolkit.validation import Validator
from rich.console import RenderableType
from rich.text import Text

from botctl.cli.output import show
from botctl.cli.sandbox import view
from botctl.cli.sandbox.connection import decode_text
from botctl.cli.sandbox.markdown import escape_line
from botctl.cli.sandbox.output import print_result, render_error, render_result
from botctl.cli.sandbox.transcript import TranscriptWriter
from botctl.core.errors import BotctlError, ExitCode, Unreachable
from botctl.core.processes.stop_signals import EXIT_CODES, discard_lost_output, stop_signals
from botctl.sandbox.console.message_diff import MessageDiff
from botctl.sandbox.console.repl import run_line, suggest
from botctl.sandbox.console.repl_commands import LineResult, Quit
from botctl.sandbox.console.schemas import MessageSchema, ModalField, ModalSchema, ReplySchema
from botctl.sandbox.console.user_session import UserSession

_POLL_INTERVAL_S = 0.5
_REFRESH_EVERY_POLLS = 10  # bots and their commands change less often than messages
_STYLE = Style.from_dict(
    {
        "person": "bold ansicyan",
        "channel": "ansibrightblack",
        "bottom-toolbar": "noreverse ansibrightblack",
        "completion-menu": "bg:default",
        "completion-menu.completion": "bg:default",
        "completion-menu.completion.current": "reverse",
        "completion-menu.meta.completion": "bg:default ansibrightblack",
        "completion-menu.meta.completion.current": "reverse",
        "placeholder": "ansibrightblack",
    }
)


async def run_piped_lines(session: UserSession, transcript: TranscriptWriter) -> bool:
    """Run all lines of stdin in order; return False when one of them fails."""
    await session.resolve_defaults()
    transcript.write_header(session)
    succeeded = True
    for number, raw in enumerate(sys.stdin.buffer, 1):
        line = raw.decode(errors="replace")
        if not line.strip():
            continue
        try:
            result = await run_line(session, decode_text(raw, f"Line {number} of the input"))
        except Unreachable:
            raise
        except BotctlError as error:
            show(render_error(error), stderr=True)
            transcript.record(line, error, session)
            succeeded = False
            continue
        if isinstance(result, Quit):
            break
        succeeded = print_result(result, session) and succeeded
        transcript.record(line, result, session)
    return succeeded


async def run_prompt(session: UserSession, transcript: TranscriptWriter) -> bool:
    """Run the prompt until the user leaves. New messages appear above it."""
    await session.resolve_defaults()
    transcript.write_header(session)
    prompt = _Prompt(session, transcript)
    with patch_stdout(raw=True):
        try:
            await prompt.run()
        except asyncio.CancelledError:
            if prompt.exit_code is None:
                raise
            raise SystemExit(prompt.exit_code) from None
    return True


class _Completer(Completer):
    """Suggests commands, options and values."""

    def __init__(self, session: UserSession) -> None:
        self._session = session

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:  # noqa: ARG002
        return ()

    async def get_completions_async(
        self,
        document: Document,
        complete_event: CompleteEvent,  # noqa: ARG002 - the signature is prompt_toolkit's
    ) -> AsyncGenerator[Completion, None]:
        cursor = document.cursor_position
        for suggestion in await suggest(self._session, document.text, cursor):
            yield Completion(suggestion.text, suggestion.start - cursor, display_meta=suggestion.detail)


class _Prompt:
    def __init__(self, session: UserSession, transcript: TranscriptWriter) -> None:
        self.exit_code: ExitCode | None = None  # of the signal that has ended it
        self._session = session
        self._transcript = transcript
        self._message_diff = MessageDiff()
        self._lines_done = 0  # the watcher drops messages that it requested before a line was done
        self._unreachable = False
        self._pending: asyncio.Task[LineResult] | None = None
        self._toolbar = ""
        self._lines: PromptSession[str] = PromptSession(
            completer=_Completer(session), key_bindings=_line_key_bindings(), style=_STYLE, reserve_space_for_menu=6
        )

    async def run(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101  a coroutine always runs in one
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        for number in set(stop_signals()) - {signal.SIGINT}:
            loop.add_signal_handler(number, self._end, task, EXIT_CODES[number])
        self._message_diff.mark_seen(await self._session.client.messages(self._session.identity))
        self._print(self._greeting())
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(self._poll_sandbox())
            while await self._read_line():
                pass
            watcher.cancel()

    async def _read_line(self) -> bool:
        """Read and run one line; return False when the user leaves."""
        try:
            line = await self._lines.prompt_async(
                self._prompt_text,
                bottom_toolbar=self._toolbar_text,
                placeholder=_placeholder("/command, text, or :help"),
                handle_sigint=False,
            )
        except EOFError:
            return False
        if not line.strip():
            return True
        return await self._run_and_show(
            run_line(self._session, line), lambda result: self._transcript.record(line, result, self._session)
        )

    async def _run_and_show(
        self, coroutine: Coroutine[Any, Any, LineResult], record: Callable[[LineResult | BotctlError], None]
    ) -> bool:
        """Wait for the result and print it; fill in a form (modal) that opens.

        ``record`` writes the result or the error to the transcript.
        """
        result = await self._wait_for(self._mark_history_seen(coroutine), record)
        if result is not None:
            record(result)
            self._show(result)
        if isinstance(result, ReplySchema) and result.modal:
            return await self._fill_modal(result.modal)
        return not isinstance(result, Quit)

    async def _mark_history_seen(self, coroutine: Coroutine[Any, Any, LineResult]) -> LineResult:
        """Wait for the result; after a change of user or channel, do not show the older messages there as new."""
        before = self._session.identity
        result = await coroutine
        if self._session.identity != before:
            self._message_diff.mark_seen(await self._session.client.messages(self._session.identity))
        return result

    async def _wait_for(
        self, coroutine: Coroutine[Any, Any, LineResult], record: Callable[[BotctlError], None]
    ) -> LineResult | None:
        """Return the result; None after an error, which is printed, or after Ctrl-C."""
        self._pending = asyncio.create_task(coroutine)
        try:
            return await self._pending
        except BotctlError as error:
            record(error)
            self._print(render_error(error))
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            self._print(Text("Stopped waiting.", "dim"))
        finally:
            self._pending = None
            self._lines_done += 1
        return None

    async def _fill_modal(self, modal: ModalSchema) -> bool:
        fields: dict[str, str] = {}
        for field in modal.fields:
            try:
                fields[field.custom_id] = await _prompt_field(field)
            except (EOFError, KeyboardInterrupt):
                self._session.modal = None
                self._print(Text("The form is closed; nothing was submitted.", "dim"))
                return True
        submission = self._session.submit(fields, modal.id)
        return await self._run_and_show(
            submission, lambda result: self._transcript.record_modal(modal, fields, result, self._session)
        )

    def _show(self, result: LineResult) -> None:
        if isinstance(result, ReplySchema):
            self._message_diff.mark_seen(result.messages)
            if result.interaction:
                self._toolbar = f"{result.state.replace('_', ' ')} in {result.waited_ms:.0f} ms"
            elif result.answered and not any(
                message.edited or message.reactions or message.reply_to for message in result.messages
            ):
                return  # the text that the user has just typed
        if not isinstance(result, Quit):
            self._print(render_result(result, self._session))

    async def _poll_sandbox(self) -> None:
        """Poll the sandbox for messages and bots until cancelled."""
        for poll in itertools.count():
            unreachable = False
            try:
                done = self._lines_done
                messages = await self._session.client.messages(self._session.identity)
                if self._pending is None and self._lines_done == done:
                    self._show_changes(messages)
                if self._unreachable or not self._session.state.commands or poll % _REFRESH_EVERY_POLLS == 0:
                    await self._session.refresh()
            except Unreachable:
                unreachable = True
            except BotctlError:
                pass  # the next line reports it
            if unreachable != self._unreachable:
                self._unreachable = unreachable
                self._lines.app.invalidate()
            await asyncio.sleep(_POLL_INTERVAL_S)

    def _show_changes(self, messages: Sequence[MessageSchema]) -> None:
        others = [
            message
            for message in self._message_diff.take_changed(messages)
            if message.author.name != self._session.identity.name
        ]
        if others:
            self._print(view.render_messages(others, view.display_names(self._session.state)))

    def _end(self, task: asyncio.Task[Any], exit_code: ExitCode) -> None:
        self.exit_code = exit_code
        if discard_lost_output():  # prompt_toolkit would wait for a key to be pressed
            os._exit(exit_code)  # nothing is left to do: the transcript is flushed after each line
        task.cancel()

    def _interrupt(self) -> None:
        """Ctrl-C: cancel the action that is waited for."""
        if self._pending is not None:
            self._pending.cancel()

    def _print(self, content: RenderableType) -> None:
        show(content)

    def _prompt_text(self) -> StyleAndTextTuples:
        identity = self._session.identity
        return [("class:person", f"{identity.name}"), ("class:channel", f" {self._session.location}"), ("", " > ")]

    def _toolbar_text(self) -> StyleAndTextTuples:
        if self._unreachable:
            return [("", " The sandbox does not answer · :help")]
        bots = ", ".join(f"{bot.name}{'' if bot.connected else ' (not connected)'}" for bot in self._session.state.bots)
        parts = (self._session.guild.name if self._session.guild else "", bots or "no bot yet", self._toolbar, ":help")
        return [("", " " + " · ".join(escape_line(part) for part in parts if part))]

    def _greeting(self) -> Text:
        identity = self._session.identity
        commands = [command["name"] for command in self._session.commands if command.get("type", 1) == 1]
        text = f"You are {identity.name} in {self._session.location}. "
        text += f"Try /{commands[0]}. " if commands else "No bot has registered a command yet. "
        return Text(escape_line(text + "Type :help for help, Ctrl-D to leave."), "dim")


async def _prompt_field(field: ModalField) -> str:
    """Read one field of a modal; Ctrl-C raises KeyboardInterrupt, Ctrl-D raises EOFError."""
    required = Validator.from_callable(bool, error_message="This field is required.") if field.required else None
    label = escape_line(field.label or field.custom_id) + (" *" if field.required else "")
    return await PromptSession[str](key_bindings=_field_key_bindings()).prompt_async(
        [("bold", f"  {label}: ")],
        default=field.value or "",
        placeholder=_placeholder(field.placeholder or ""),
        validator=required,
        validate_while_typing=False,
        style=_STYLE,
        handle_sigint=False,
    )


def _placeholder(text: str) -> StyleAndTextTuples:
    return [("class:placeholder", escape_line(text))]


def _line_key_bindings() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("c-c")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.reset()

    return keys


def _field_key_bindings() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys

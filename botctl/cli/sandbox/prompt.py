"""The prompt of ``botctl sandbox``: a terminal Discord. Ctrl-C clears the line or stops waiting, Ctrl-D leaves."""

from __future__ import annotations

import asyncio
import itertools
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
from botctl.cli.sandbox.markdown import escape_line
from botctl.cli.sandbox.output import print_result, render_error, render_result
from botctl.cli.sandbox.transcript import TranscriptWriter
from botctl.core.errors import BotctlError, Unreachable
from botctl.sandbox.console.message_diff import MessageDiff
from botctl.sandbox.console.repl import run_line, suggest
from botctl.sandbox.console.repl_commands import LineResult, Quit
from botctl.sandbox.console.schemas import FormField, MessageSchema, ModalSchema, ReplySchema
from botctl.sandbox.console.user_session import UserSession

_POLL_INTERVAL_S = 0.5
_REFRESH_EVERY_POLLS = 10  # looks: bots come and go, and their commands change
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
    """Run the lines of stdin one after the other; all are run, and one that fails makes the whole fail."""
    await session.resolve_defaults()
    transcript.write_header(session)
    good = True
    for line in filter(str.strip, sys.stdin):
        try:
            result = await run_line(session, line)
        except Unreachable:
            raise
        except BotctlError as error:
            show(render_error(error), stderr=True)
            transcript.record(line, error, session)
            good = False
            continue
        if isinstance(result, Quit):
            break
        good = print_result(result, session) and good
        transcript.record(line, result, session)
    return good


async def run_prompt(session: UserSession, transcript: TranscriptWriter) -> bool:
    """Talk until the person leaves. What the bot says meanwhile appears above the prompt."""
    await session.resolve_defaults()
    transcript.write_header(session)
    with patch_stdout(raw=True):
        await _Prompt(session, transcript).run()
    return True


class _Completer(Completer):
    """Suggestions as prompt_toolkit wants them."""

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
        self._session = session
        self._transcript = transcript
        self._message_diff = MessageDiff()
        self._lines_done = 0  # lines; what the watcher has asked for before one of them was answered is no news
        self._unreachable = False
        self._pending: asyncio.Task[LineResult] | None = None
        self._toolbar = ""
        self._lines: PromptSession[str] = PromptSession(
            completer=_Completer(session), key_bindings=_line_keys(), style=_STYLE, reserve_space_for_menu=6
        )

    async def run(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)
        self._message_diff.mark_seen(await self._session.client.messages(self._session.identity))
        self._print(self._greeting())
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(self._watch())
            while await self._read_line():
                pass
            watcher.cancel()

    async def _read_line(self) -> bool:
        """One line; False when the person leaves."""
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
        """Wait for the outcome and print it; a form that opens is filled in at once."""
        result = await self._wait_for(self._skip_history(coroutine), record)
        if result is not None:
            record(result)
            self._show(result)
        if isinstance(result, ReplySchema) and result.modal:
            return await self._fill_form(result.modal)
        return not isinstance(result, Quit)

    async def _skip_history(self, coroutine: Coroutine[Any, Any, LineResult]) -> LineResult:
        """The outcome; when it led to another seat, what was said there before is no news."""
        before = self._session.identity
        result = await coroutine
        if self._session.identity != before:
            self._message_diff.mark_seen(await self._session.client.messages(self._session.identity))
        return result

    async def _wait_for(
        self, coroutine: Coroutine[Any, Any, LineResult], record: Callable[[BotctlError], None]
    ) -> LineResult | None:
        """What comes of ``coroutine``; None when it fails, which is said, or Ctrl-C stops the waiting."""
        self._pending = asyncio.create_task(coroutine)
        try:
            return await self._pending
        except BotctlError as error:
            record(error)
            self._print(render_error(error))
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            self._print(Text("Not waited for.", "dim"))
        finally:
            self._pending = None
            self._lines_done += 1
        return None

    async def _fill_form(self, form: ModalSchema) -> bool:
        fields: dict[str, str] = {}
        for field in form.fields:
            try:
                fields[field.custom_id] = await _prompt_field(field)
            except (EOFError, KeyboardInterrupt):
                self._session.modal = None
                self._print(Text("The form is closed; nothing was sent.", "dim"))
                return True
        sent = self._session.submit(fields, form.id)
        return await self._run_and_show(
            sent, lambda result: self._transcript.record_form(form, fields, result, self._session)
        )

    def _show(self, result: LineResult) -> None:
        if isinstance(result, ReplySchema):
            self._message_diff.mark_seen(result.messages)
            if result.interaction:
                self._toolbar = f"{result.state.replace('_', ' ')} in {result.waited_ms:.0f} ms"
            elif result.answered and not any(one.edited or one.reactions or one.reply_to for one in result.messages):
                return  # their own words, which they have just typed
        if not isinstance(result, Quit):
            self._print(render_result(result, self._session))

    async def _watch(self) -> None:
        """Show what others, the bot above all, say while the person types."""
        for turn in itertools.count():
            unreachable = False
            try:
                done = self._lines_done
                said = await self._session.client.messages(self._session.identity)
                if self._pending is None and self._lines_done == done:
                    self._show_changes(said)
                if self._unreachable or not self._session.state.commands or turn % _REFRESH_EVERY_POLLS == 0:
                    await self._session.refresh()
            except Unreachable:
                unreachable = True
            except BotctlError:
                pass  # the next line that is sent says so
            if unreachable != self._unreachable:
                self._unreachable = unreachable
                self._lines.app.invalidate()
            await asyncio.sleep(_POLL_INTERVAL_S)

    def _show_changes(self, said: Sequence[MessageSchema]) -> None:
        others = [
            message
            for message in self._message_diff.take_changed(said)
            if message.author.name != self._session.identity.name
        ]
        if others:
            self._print(view.render_messages(others, view.display_names(self._session.state)))

    def _interrupt(self) -> None:
        if self._pending is not None:
            self._pending.cancel()

    def _print(self, coroutine: RenderableType) -> None:
        show(coroutine)

    def _prompt_text(self) -> StyleAndTextTuples:
        identity = self._session.identity
        return [("class:person", f"{identity.name}"), ("class:channel", f" {self._session.location}"), ("", " > ")]

    def _toolbar_text(self) -> StyleAndTextTuples:
        if self._unreachable:
            return [("", " The sandbox does not answer · :help")]
        bots = ", ".join(f"{bot.name}{'' if bot.connected else ' (away)'}" for bot in self._session.state.bots)
        parts = (self._session.guild.name if self._session.guild else "", bots or "no bot yet", self._toolbar, ":help")
        return [("", " " + " · ".join(escape_line(part) for part in parts if part))]

    def _greeting(self) -> Text:
        identity = self._session.identity
        commands = [c["name"] for c in self._session.commands if c.get("type", 1) == 1]
        told = f"You are {identity.name} in {self._session.location}. "
        told += f"Try /{commands[0]}. " if commands else "No bot has registered a command yet. "
        return Text(escape_line(told + "Help: :help, leave: Ctrl-D."), "dim")


async def _prompt_field(field: FormField) -> str:
    """One input of a form; Ctrl-C and Ctrl-D leave the form."""
    required = Validator.from_callable(bool, error_message="This must be filled in.") if field.required else None
    label = escape_line(field.label or field.custom_id) + (" *" if field.required else "")
    return await PromptSession[str](key_bindings=_form_keys()).prompt_async(
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


def _line_keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("c-c")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.reset()

    return keys


def _form_keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys

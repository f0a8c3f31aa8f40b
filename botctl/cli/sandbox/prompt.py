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
from botctl.cli.sandbox.output import print_result, render_result, render_error
from botctl.cli.sandbox.transcript import TranscriptWriter
from botctl.core.errors import BotctlError, Unreachable
from botctl.sandbox.console.message_diff import MessageDiff
from botctl.sandbox.console.repl import run_line, suggest
from botctl.sandbox.console.repl_commands import Quit, LineResult
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


async def run_piped_lines(talk: UserSession, notes: TranscriptWriter) -> bool:
    """Run the lines of stdin one after the other; all are run, and one that fails makes the whole fail."""
    await talk.settle()
    notes.begin(talk)
    good = True
    for line in filter(str.strip, sys.stdin):
        try:
            outcome = await run_line(talk, line)
        except Unreachable:
            raise
        except BotctlError as error:
            show(render_error(error), stderr=True)
            notes.note(line, error, talk)
            good = False
            continue
        if isinstance(outcome, Quit):
            break
        good = print_result(outcome, talk) and good
        notes.note(line, outcome, talk)
    return good


async def run_prompt(talk: UserSession, notes: TranscriptWriter) -> bool:
    """Talk until the person leaves. What the bot says meanwhile appears above the prompt."""
    await talk.settle()
    notes.begin(talk)
    with patch_stdout(raw=True):
        await _Prompt(talk, notes).talk_on()
    return True


class _Completer(Completer):
    """Suggestions as prompt_toolkit wants them."""

    def __init__(self, talk: UserSession) -> None:
        self._talk = talk

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:  # noqa: ARG002
        return ()

    async def get_completions_async(
        self,
        document: Document,
        complete_event: CompleteEvent,  # noqa: ARG002 - the signature is prompt_toolkit's
    ) -> AsyncGenerator[Completion, None]:
        cursor = document.cursor_position
        for hint in await suggest(self._talk, document.text, cursor):
            yield Completion(hint.text, hint.start - cursor, display_meta=hint.detail)


class _Prompt:
    def __init__(self, talk: UserSession, notes: TranscriptWriter) -> None:
        self._talk = talk
        self._notes = notes
        self._feed = MessageDiff()
        self._done = 0  # lines; what the watcher has asked for before one of them was answered is no news
        self._away = False
        self._waiting: asyncio.Task[LineResult] | None = None
        self._toolbar = ""
        self._lines: PromptSession[str] = PromptSession(
            completer=_Completer(talk), key_bindings=_line_keys(), style=_STYLE, reserve_space_for_menu=6
        )

    async def talk_on(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)
        self._feed.saw(await self._talk.client.messages(self._talk.seat))
        self._print(self._greeting())
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(self._watch())
            while await self._turn():
                pass
            watcher.cancel()

    async def _turn(self) -> bool:
        """One line; False when the person leaves."""
        try:
            line = await self._lines.prompt_async(
                self._before,
                bottom_toolbar=self._below,
                placeholder=_placeholder("/command, text, or :help"),
                handle_sigint=False,
            )
        except EOFError:
            return False
        if not line.strip():
            return True
        return await self._do(run_line(self._talk, line), lambda came: self._notes.note(line, came, self._talk))

    async def _do(self, what: Coroutine[Any, Any, LineResult], note: Callable[[LineResult | BotctlError], None]) -> bool:
        """Wait for the outcome and print it; a form that opens is filled in at once."""
        outcome = await self._waited(self._followed(what), note)
        if outcome is not None:
            note(outcome)
            self._show(outcome)
        if isinstance(outcome, ReplySchema) and outcome.modal:
            return await self._fill(outcome.modal)
        return not isinstance(outcome, Quit)

    async def _followed(self, what: Coroutine[Any, Any, LineResult]) -> LineResult:
        """The outcome; when it led to another seat, what was said there before is no news."""
        before = self._talk.seat
        outcome = await what
        if self._talk.seat != before:
            self._feed.saw(await self._talk.client.messages(self._talk.seat))
        return outcome

    async def _waited(self, what: Coroutine[Any, Any, LineResult], note: Callable[[BotctlError], None]) -> LineResult | None:
        """What comes of ``what``; None when it fails, which is said, or Ctrl-C stops the waiting."""
        self._waiting = asyncio.create_task(what)
        try:
            return await self._waiting
        except BotctlError as error:
            note(error)
            self._print(render_error(error))
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            self._print(Text("Not waited for.", "dim"))
        finally:
            self._waiting = None
            self._done += 1
        return None

    async def _fill(self, form: ModalSchema) -> bool:
        fields: dict[str, str] = {}
        for field in form.fields:
            try:
                fields[field.custom_id] = await _prompt_field(field)
            except (EOFError, KeyboardInterrupt):
                self._talk.form = None
                self._print(Text("The form is closed; nothing was sent.", "dim"))
                return True
        sent = self._talk.submit(fields, form.id)
        return await self._do(sent, lambda came: self._notes.note_form(form, fields, came, self._talk))

    def _show(self, outcome: LineResult) -> None:
        if isinstance(outcome, ReplySchema):
            self._feed.saw(outcome.messages)
            if outcome.interaction:
                self._toolbar = f"{outcome.state.replace('_', ' ')} in {outcome.waited_ms:.0f} ms"
            elif outcome.answered and not any(one.edited or one.reactions or one.reply_to for one in outcome.messages):
                return  # their own words, which they have just typed
        if not isinstance(outcome, Quit):
            self._print(render_result(outcome, self._talk))

    async def _watch(self) -> None:
        """Show what others, the bot above all, say while the person types."""
        for turn in itertools.count():
            away = False
            try:
                done = self._done
                said = await self._talk.client.messages(self._talk.seat)
                if self._waiting is None and self._done == done:
                    self._news(said)
                if self._away or not self._talk.state.commands or turn % _REFRESH_EVERY_POLLS == 0:
                    await self._talk.look()
            except Unreachable:
                away = True
            except BotctlError:
                pass  # the next line that is sent says so
            if away != self._away:
                self._away = away
                self._lines.app.invalidate()
            await asyncio.sleep(_POLL_INTERVAL_S)

    def _news(self, said: Sequence[MessageSchema]) -> None:
        others = [message for message in self._feed.news(said) if message.author.name != self._talk.seat.name]
        if others:
            self._print(view.render_messages(others, view.display_names(self._talk.state)))

    def _interrupt(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    def _print(self, what: RenderableType) -> None:
        show(what)

    def _before(self) -> StyleAndTextTuples:
        seat = self._talk.seat
        return [("class:person", f"{seat.name}"), ("class:channel", f" {self._talk.place}"), ("", " > ")]

    def _below(self) -> StyleAndTextTuples:
        if self._away:
            return [("", " The sandbox does not answer · :help")]
        bots = ", ".join(f"{bot.name}{'' if bot.connected else ' (away)'}" for bot in self._talk.state.bots)
        parts = (self._talk.guild.name if self._talk.guild else "", bots or "no bot yet", self._toolbar, ":help")
        return [("", " " + " · ".join(escape_line(part) for part in parts if part))]

    def _greeting(self) -> Text:
        seat = self._talk.seat
        commands = [c["name"] for c in self._talk.commands if c.get("type", 1) == 1]
        told = f"You are {seat.name} in {self._talk.place}. "
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

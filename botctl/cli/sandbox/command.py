"""``botctl sandbox``: a simulated Discord. `botctl run` starts it for a bot without a token; `serve` runs it alone."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from botctl.cli.lazy import LazyCommand, LazyGroup
from botctl.cli.options import AsJson, Project
from botctl.cli.sandbox import transcript as sandbox_transcript
from botctl.cli.sandbox.connection import Url, decode_text, resolve_locator
from botctl.cli.sandbox.incidents import incident
from botctl.cli.sandbox.output import print_next_command, print_result
from botctl.cli.sandbox.traffic import record, traffic
from botctl.cli.sandbox.transcript import replay_transcript
from botctl.sandbox.console.client import Identity, SandboxClient
from botctl.sandbox.console.repl_commands import LineResult, parse_assignments
from botctl.sandbox.console.user_session import UserSession

_REPLY_TIMEOUT_S = 5.0

As = Annotated[str | None, typer.Option("--as", metavar="PERSON", help="Who acts. Default: the guild's owner.")]
Channel = Annotated[str | None, typer.Option("--channel", metavar="NAME", help="The channel. Default: the first one.")]
Guild = Annotated[str | None, typer.Option("--guild", metavar="NAME", help="The guild. Default: the first one.")]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="How long to wait for the bot.")]


class SandboxCommands(LazyGroup):
    """Only `serve` loads the server of the sandbox; the other commands are clients of it."""

    lazy = (LazyCommand("serve", "Run the local Discord alone, for bots of any library.", "botctl.cli.sandbox.serve"),)


app = typer.Typer(
    cls=SandboxCommands,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@dataclasses.dataclass(frozen=True)
class SandboxOptions:
    """The options that the subcommands share; ``name`` is the person after ``--as``."""

    project: Path | None = None
    url: str | None = None
    name: str | None = None
    channel: str | None = None
    guild: str | None = None

    def with_defaults(self, outer: SandboxOptions | None) -> SandboxOptions:
        """Take missing options from ``outer``, the options before the subcommand."""
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return dataclasses.replace(outer or self, **{name: value for name, value in given.items() if value is not None})


@app.callback(invoke_without_command=True)
def sandbox(
    ctx: typer.Context,
    *,
    as_: As = None,
    channel: Channel = None,
    guild: Guild = None,
    timeout_s: Timeout = _REPLY_TIMEOUT_S,
    transcript: Annotated[
        Path | None,
        typer.Option("--transcript", metavar="FILE", help="Write input and output to FILE, for `sandbox replay`."),
    ] = None,
    url: Url = None,
    project: Project = None,
) -> None:
    """Use the bot in the local Discord. Without a command: a prompt.

    At the prompt, type a slash command or a message; :help lists the other commands. Lines from a pipe run one after
    the other. Exit code 1: the bot did not respond, or Discord refused the call.
    """
    ctx.obj = SandboxOptions(project, url, as_, channel, guild)
    if ctx.invoked_subcommand is None:
        # Here, because `sandbox send` must not load prompt_toolkit.
        from botctl.cli.sandbox.prompt import run_piped_lines, run_prompt  # noqa: PLC0415

        run_lines = run_prompt if sys.stdin.isatty() and sys.stdout.isatty() else run_piped_lines
        with sandbox_transcript.open_transcript(transcript) as writer:
            _run_session(ctx.obj, timeout_s, lambda session: run_lines(session, writer))


@app.command()
def send(
    ctx: typer.Context,
    *,
    text: Annotated[str, typer.Argument(help='A slash command ("/roll sides:20"), or a message for the channel.')],
    as_: As = None,
    channel: Channel = None,
    guild: Guild = None,
    timeout_s: Timeout = _REPLY_TIMEOUT_S,
    as_json: AsJson = False,
    url: Url = None,
    project: Project = None,
) -> None:
    """Use a slash command or post a message; print the reply."""
    options = SandboxOptions(project, url, as_, channel, guild).with_defaults(ctx.obj)
    line = decode_text(os.fsencode(text), "What you send")
    _run_once(options, timeout_s, as_json, lambda session: session.send_line(line))


@app.command()
def click(
    ctx: typer.Context,
    *,
    label: Annotated[str, typer.Argument(help="Label or custom id of a button or select menu.")],
    values: Annotated[
        list[str] | None, typer.Argument(metavar="CHOICE", help="Options of a select menu: names or numbers.")
    ] = None,
    message: Annotated[
        str | None,
        typer.Option("--message", metavar="ID", help="A message id. Default: the last with components."),
    ] = None,
    as_: As = None,
    channel: Channel = None,
    guild: Guild = None,
    timeout_s: Timeout = _REPLY_TIMEOUT_S,
    as_json: AsJson = False,
    url: Url = None,
    project: Project = None,
) -> None:
    """Press a button or choose in a select menu."""
    options = SandboxOptions(project, url, as_, channel, guild).with_defaults(ctx.obj)
    _run_once(options, timeout_s, as_json, lambda session: session.click(label, values, message))


@app.command()
def submit(
    ctx: typer.Context,
    *,
    fields: Annotated[list[str], typer.Argument(metavar="FIELD=VALUE...", help="A field by label or custom id.")],
    modal: Annotated[
        str | None,
        typer.Option("--modal", metavar="ID", help="A form's id, as --json shows it. Default: the last that opened."),
    ] = None,
    as_: As = None,
    channel: Channel = None,
    guild: Guild = None,
    timeout_s: Timeout = _REPLY_TIMEOUT_S,
    as_json: AsJson = False,
    url: Url = None,
    project: Project = None,
) -> None:
    """Fill in and submit the open form (Discord: modal)."""
    options = SandboxOptions(project, url, as_, channel, guild).with_defaults(ctx.obj)
    _run_once(options, timeout_s, as_json, lambda session: session.submit(parse_assignments(fields), modal))


@app.command()
def menu(
    ctx: typer.Context,
    *,
    command: Annotated[str, typer.Argument(help='The command\'s name, for example "Who is".')],
    on: Annotated[str, typer.Option("--on", metavar="TARGET", help='"@PERSON", the id of a message, or "last".')],
    as_: As = None,
    channel: Channel = None,
    guild: Guild = None,
    timeout_s: Timeout = _REPLY_TIMEOUT_S,
    as_json: AsJson = False,
    url: Url = None,
    project: Project = None,
) -> None:
    """Use a context menu command on a person or a message."""
    options = SandboxOptions(project, url, as_, channel, guild).with_defaults(ctx.obj)
    _run_once(options, timeout_s, as_json, lambda session: session.use_menu(command, on))


@app.command()
def messages(
    ctx: typer.Context,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="The number of messages.")] = 20,
    as_: As = None,
    channel: Channel = None,
    guild: Guild = None,
    as_json: AsJson = False,
    url: Url = None,
    project: Project = None,
) -> None:
    """Print the last messages that a person sees in a channel."""
    options = SandboxOptions(project, url, as_, channel, guild).with_defaults(ctx.obj)
    _run_once(
        options, _REPLY_TIMEOUT_S, as_json, lambda session: session.client.messages(session.identity, limit=limit)
    )


@app.command()
def replay(
    ctx: typer.Context,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that --transcript has written.")],
    as_: As = None,
    channel: Channel = None,
    guild: Guild = None,
    timeout_s: Timeout = _REPLY_TIMEOUT_S,
    url: Url = None,
    project: Project = None,
) -> None:
    """Replay a transcript and compare the output.

    This is a test without code. Ids and times are not compared, and “…” in the file matches any text. Exit code 1:
    the output differs.
    """
    options = SandboxOptions(project, url, as_, channel, guild).with_defaults(ctx.obj)
    _run_session(options, timeout_s, lambda session: replay_transcript(file, session))


app.command()(incident)
app.command()(record)
app.command()(traffic)


def _run_once(
    options: SandboxOptions, timeout_s: float, as_json: bool, action: Callable[[UserSession], Awaitable[LineResult]]
) -> None:
    async def run_action(session: UserSession) -> bool:
        result = await action(session)
        if not as_json and not session.state.guilds:
            await session.refresh()  # the output needs the names of mentions
        answered = print_result(result, session, as_json=as_json)
        if not as_json:
            print_next_command(result)
        return answered

    _run_session(options, timeout_s, run_action)


def _run_session(options: SandboxOptions, timeout_s: float, action: Callable[[UserSession], Awaitable[bool]]) -> None:
    """Run ``action`` with a session; exit with 1 when it returns False."""

    async def run() -> bool:
        locator = resolve_locator(options.project, options.url)
        async with SandboxClient(*locator.locate(), locator) as client:
            return await action(
                UserSession(client, Identity(options.name, options.channel, options.guild), timeout_s=timeout_s)
            )

    if not asyncio.run(run()):
        raise typer.Exit(1)

"""The command line: every verb with its line of help. The module of a verb is imported when the verb is called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from botctl import __version__
from botctl.cli.boundary import guarded

OPERATE: Final = "Operate"
ACCESS: Final = "Access"
DEVELOP: Final = "Develop"


class Verb(TyperCommand):
    """A verb as `botctl --help` shows it. Its options are in ``botctl.cli.<module>.command``, loaded at the call."""

    def __init__(self, panel: str, name: str, line: str, module: str = "") -> None:
        super().__init__(name=name, help=line, rich_help_panel=panel)
        self.module = f"botctl.cli.{module or name}.command"

    def load(self) -> Any:
        """The Click command behind it."""
        command = typer.main.get_command(importlib.import_module(self.module).app)
        command.name = self.name
        return command

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Begin a call: from here on the loaded command takes over."""
        return self.load().make_context(info_name, args, parent=parent, **extra)


VERBS: Final = (
    Verb(OPERATE, "run", "Start the bot and everything it needs, until Ctrl-C or SIGTERM."),
    Verb(OPERATE, "migrate", "Change the database's shape, step by step."),
    Verb(OPERATE, "monitor", "Watch all processes of the bot, from another terminal."),
    Verb(OPERATE, "jobs", "Show, run, pause and resume scheduled jobs."),
    Verb(OPERATE, "stores", "Show where the stores are, and how they do."),
    Verb(OPERATE, "ratelimit", "Look at rate limits, and reset them."),
    Verb(OPERATE, "audit", "Read the audit log."),
    Verb(OPERATE, "settings", "Show or change the settings of a guild.", module="guild_settings"),
    Verb(ACCESS, "auth", "Make, list and revoke API keys."),
    Verb(DEVELOP, "sandbox", "Talk to the bot in the local Discord; alone, a prompt."),
    Verb(DEVELOP, "init", "Write a new bot from the example into DIR."),
)


class Grouped(TyperGroup):
    """Help with the verbs in groups, in plain text: Rich's help would double the time of ``botctl --help``."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the signature is Click's
        limit = formatter.width - 6 - max(len(name) for name in self.commands)
        for panel in dict.fromkeys(command.rich_help_panel for command in VERBS):
            with formatter.section(panel):
                shown = [verb for verb in VERBS if verb.rich_help_panel == panel]
                formatter.write_dl([(verb.name, verb.get_short_help_str(limit)) for verb in shown])


app = typer.Typer(
    name="botctl",
    cls=Grouped,
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"botctl {__version__}")
        raise typer.Exit


@app.callback()
def botctl(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="On an error, print the traceback.")] = False,
) -> None:
    """Run and operate a Discord bot in production."""


def _call(words: Sequence[str]) -> object:
    root: Any = typer.main.get_command(app)
    for verb in VERBS:
        root.add_command(verb)
    return root(list(words), prog_name="botctl", standalone_mode=False)


def main() -> None:
    """What the ``botctl`` script calls."""
    words = sys.argv[1:]
    options = words[: words.index("--")] if "--" in words else words
    kept = [word for word in options if word != "--debug"]  # it may stand anywhere
    words = kept + words[len(options) :]
    debug = len(kept) < len(options)
    sys.exit(guarded(lambda: _call(words), debug=debug, as_json="--json" in kept))


if __name__ == "__main__":
    main()

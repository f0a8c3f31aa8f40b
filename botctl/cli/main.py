"""The command line: every verb with its line of help. The module of a verb is imported when the verb is called."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Final

import typer

from botctl.cli.boundary import run_guarded
from botctl.cli.lazy import LazyCommand, LazyGroup
from botctl.core.version import __version__

OPERATE: Final = "Operate"
ACCESS: Final = "Access"
DEVELOP: Final = "Develop"


def _verb(panel: str, name: str, line: str, folder: str = "") -> LazyCommand:
    return LazyCommand(name, line, f"botctl.cli.{folder or name}.command", panel=panel)


VERBS: Final = (
    _verb(OPERATE, "run", "Start the bot and everything it needs, until Ctrl-C or SIGTERM."),
    _verb(OPERATE, "migrate", "Change the database's shape, step by step."),
    _verb(OPERATE, "monitor", "Watch all processes of the bot, from another terminal."),
    _verb(OPERATE, "jobs", "Show, run, pause and resume scheduled jobs."),
    _verb(OPERATE, "stores", "Show where the stores are, and how they do."),
    _verb(OPERATE, "ratelimit", "Look at rate limits, and reset them."),
    _verb(OPERATE, "audit", "Read the audit log."),
    _verb(OPERATE, "settings", "Show or change the settings of a guild.", folder="guild_settings"),
    _verb(ACCESS, "auth", "Make, list and revoke API keys."),
    _verb(DEVELOP, "sandbox", "Talk to the bot in the local Discord; alone, a prompt."),
    _verb(DEVELOP, "init", "Write a new bot from the example into DIR."),
)


class Verbs(LazyGroup):
    """Help with the verbs in groups, in plain text: Rich's help would double the time of ``botctl --help``."""

    lazy = VERBS

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the signature is Click's
        limit = formatter.width - 6 - max(len(name) for name in self.commands)
        for panel in (OPERATE, ACCESS, DEVELOP):
            with formatter.section(panel):
                shown = [verb for verb in VERBS if verb.rich_help_panel == panel]
                formatter.write_dl([(verb.name, verb.get_short_help_str(limit)) for verb in shown])


app = typer.Typer(
    name="botctl",
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
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


def main() -> None:
    """What the ``botctl`` script calls."""
    words = sys.argv[1:]
    options = words[: words.index("--")] if "--" in words else words
    kept = [word for word in options if word != "--debug"]  # it may stand anywhere
    words = kept + words[len(options) :]
    debug = len(kept) < len(options)
    sys.exit(
        run_guarded(
            lambda: app(words, prog_name="botctl", standalone_mode=False), debug=debug, as_json="--json" in kept
        )
    )


if __name__ == "__main__":
    main()

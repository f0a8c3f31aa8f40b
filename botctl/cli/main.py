"""The command line: each command with the first line of its help. Its module is imported when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from functools import partial
from typing import Annotated, Any, Final

import typer

from botctl.cli.boundary import report_lost_output, run_guarded
from botctl.cli.lazy import LazyCommand, LazyGroup
from botctl.core.safe_streams import open_standard_descriptors, safe_streams
from botctl.core.version import __version__

OPERATE: Final = "Operate"
ACCESS: Final = "Access"
DEVELOP: Final = "Develop"


def _command(panel: str, name: str, summary: str, folder: str = "") -> LazyCommand:
    return LazyCommand(name, summary, f"botctl.cli.{folder or name}.command", panel=panel)


TOP_LEVEL_COMMANDS: Final = (
    _command(OPERATE, "run", "Start the bot and everything it needs, until Ctrl-C or SIGTERM."),
    _command(OPERATE, "migrate", "Apply, revert and check database migrations."),
    _command(OPERATE, "monitor", "Show all processes of the bot, live."),
    _command(OPERATE, "health", "Ask the bot's processes on this host whether they are well."),
    _command(OPERATE, "gateway", "Show the shards and the logins that are left; reconnect shards."),
    _command(OPERATE, "jobs", "Show, run, pause and resume scheduled jobs."),
    _command(OPERATE, "stores", "Show the address and the state of Redis and MongoDB."),
    _command(OPERATE, "doctor", "Check everything from the machine to Discord, and say what to mend."),
    _command(OPERATE, "ratelimit", "Show and reset rate limits."),
    _command(OPERATE, "audit", "Read the audit log."),
    _command(OPERATE, "settings", "Show or change the settings of a guild.", folder="guild_settings"),
    _command(ACCESS, "auth", "Manage API keys, roles and sessions, and explain who may do what."),
    _command(DEVELOP, "sandbox", "Use the bot in the local Discord."),
    _command(DEVELOP, "init", "Create a new bot in the folder DIR."),
)


class TopLevelGroup(LazyGroup):
    """Lists the commands under headings, as plain text: with Rich, ``botctl --help`` would take twice as long."""

    lazy = TOP_LEVEL_COMMANDS

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the signature is Click's
        limit = formatter.width - 6 - max(len(name) for name in self.commands)
        for panel in (OPERATE, ACCESS, DEVELOP):
            with formatter.section(panel):
                shown = [command for command in TOP_LEVEL_COMMANDS if command.rich_help_panel == panel]
                formatter.write_dl([(command.name, command.get_short_help_str(limit)) for command in shown])


app = typer.Typer(
    name="botctl",
    cls=TopLevelGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"botctl {__version__}")
        raise typer.Exit


@app.callback()
def botctl(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Print the traceback of an error.")] = False,
) -> None:
    """Run and operate a Discord bot in production."""


def main() -> None:
    open_standard_descriptors()
    os.umask(os.umask(0o022) | 0o022)  # other users must not be able to change what is written, such as __pycache__
    arguments = sys.argv[1:]
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    kept = [option for option in options if option != "--debug"]  # it may stand anywhere
    arguments = kept + arguments[len(options) :]
    debug = len(kept) < len(options)

    with safe_streams():
        exit_code = run_guarded(partial(_call, arguments), debug=debug, as_json="--json" in kept)
        exit_code = report_lost_output(exit_code, as_json="--json" in kept)
    sys.exit(exit_code)


def _call(arguments: list[str]) -> object:
    if arguments[:1] == ["health"]:
        health = importlib.import_module("botctl.cli.health.check")
        if (plain := health.parse_plain(arguments[1:])) is not None:
            project, as_json = plain
            return health.check(project, as_json=as_json)
    return app(arguments, prog_name="botctl", standalone_mode=False)


if __name__ == "__main__":
    main()

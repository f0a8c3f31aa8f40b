"""The command line: every verb, grouped; parsing only. Verbs import what they do when they are called."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from botctl import __version__

OPERATE = "Operate"
ACCESS = "Access"
DEVELOP = "Develop"


class Grouped(TyperGroup):
    """Help with the verbs in groups, in plain text: Rich's help would double the time of ``botctl --help``."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the signature is Click's
        groups: dict[str, list[tuple[str, str]]] = {}
        limit = formatter.width - 6 - max(len(name) for name in self.commands)
        for name, command in self.commands.items():
            if not command.hidden:
                panel = getattr(command, "rich_help_panel", None) or "Commands"
                groups.setdefault(str(panel), []).append((name, command.get_short_help_str(limit)))
        for panel, rows in groups.items():
            with formatter.section(panel):
                formatter.write_dl(rows)


app = typer.Typer(
    name="botctl",
    cls=Grouped,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
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


def _register() -> None:
    from botctl.cli.audit import command as audit
    from botctl.cli.auth import command as auth
    from botctl.cli.guild_settings import command as settings
    from botctl.cli.init import command as init
    from botctl.cli.jobs import command as jobs
    from botctl.cli.migrate import command as migrate
    from botctl.cli.monitor import command as monitor
    from botctl.cli.ratelimit import command as ratelimit
    from botctl.cli.run import command as run
    from botctl.cli.sandbox import command as sandbox
    from botctl.cli.stores import command as stores

    app.command("run", rich_help_panel=OPERATE)(run.run)
    app.add_typer(migrate.app, name="migrate", rich_help_panel=OPERATE)
    app.command("monitor", rich_help_panel=OPERATE)(monitor.monitor)
    app.add_typer(jobs.app, name="jobs", rich_help_panel=OPERATE)
    app.command("stores", rich_help_panel=OPERATE)(stores.stores)
    app.add_typer(ratelimit.app, name="ratelimit", rich_help_panel=OPERATE)
    app.add_typer(audit.app, name="audit", rich_help_panel=OPERATE)
    app.add_typer(settings.app, name="settings", rich_help_panel=OPERATE)
    app.add_typer(auth.app, name="auth", rich_help_panel=ACCESS)
    app.add_typer(sandbox.app, name="sandbox", rich_help_panel=DEVELOP)
    app.command("init", rich_help_panel=DEVELOP)(init.init)


def main() -> None:
    """What the ``botctl`` script calls."""
    from botctl.cli.boundary import guarded

    _register()
    words = sys.argv[1:]
    options = words[: words.index("--")] if "--" in words else words
    kept = [word for word in options if word != "--debug"]  # it may stand anywhere
    words = kept + words[len(options) :]
    debug = len(kept) < len(options)
    sys.exit(
        guarded(lambda: app(words, prog_name="botctl", standalone_mode=False), debug=debug, as_json="--json" in kept)
    )


if __name__ == "__main__":
    main()

"""``botctl doctor``: what is well and what is not, from the machine to the permissions in each guild."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from botctl.cli.doctor import view
from botctl.cli.json_output import print_json
from botctl.cli.options import AsJson, Profile, Project
from botctl.cli.settings import load_settings
from botctl.core.errors import ConfigError, ExitCode
from botctl.doctor.finding import Finding, has_fault
from botctl.run.oneshot.doctor import examine, examine_without_settings
from botctl.run.oneshot.doctor_needs import examine_intents, examine_permissions
from botctl.run.oneshot.rehearsal import rehearse_without

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def doctor(ctx: typer.Context, project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Check everything from the machine to Discord, and say what to mend.

    Changes nothing and starts nothing. Exit code 1 if a line is ✘.
    A dash marks what cannot be known here, with the reason.
    """
    if ctx.invoked_subcommand is not None:
        return
    try:
        loaded = load_settings(project, profile)
    except ConfigError as error:
        _finish(asyncio.run(examine_without_settings(error)), as_json=as_json)
    else:
        _finish(asyncio.run(examine(loaded)), as_json=as_json)


@app.command()
def intents(
    without: Annotated[
        str | None,
        typer.Option(
            "--without", metavar="INTENT", help="Rehearse in a sandbox what breaks when Discord withdraws this intent."
        ),
    ] = None,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Show which code needs which privileged intent, whether Discord grants it, and how near its review is."""
    loaded = load_settings(project, profile)
    findings = examine_intents(loaded) if without is None else rehearse_without(loaded, without)
    _finish(asyncio.run(findings), as_json=as_json)


@app.command()
def permissions(
    guild: Annotated[
        str | None, typer.Argument(metavar="GUILD", help="The id or name of a guild. Default: all guilds of the bot.")
    ] = None,
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Show which permissions the bot needs, and what each guild lacks, with an invite link that has them."""
    _finish(asyncio.run(examine_permissions(load_settings(project, profile), guild)), as_json=as_json)


def _finish(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print ``findings``, and end with the exit code that they mean."""
    if as_json:
        print_json(view.as_json(findings))
    else:
        view.print_findings(findings)
    raise typer.Exit(ExitCode.FAILED if has_fault(findings) else ExitCode.OK)

"""``botctl gateway``: the shards of the bot, and the logins that Discord still allows."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from botctl.cli.gateway.view import plan_json, render_plan, render_status, status_json
from botctl.cli.json_output import print_json
from botctl.cli.options import AsJson, Profile, Project, Reason
from botctl.cli.output import show
from botctl.cli.settings import load_settings
from botctl.run.oneshot.gateway import log_in_now, read_gateway, reconnect

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Show the shards and the logins that are left; reconnect shards.",
)


@app.command()
def status(project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Show the shards, and how many logins are left until when.

    A login is an IDENTIFY: Discord allows 1,000 a day, and resets the token of a bot with more.
    """
    report = asyncio.run(read_gateway(load_settings(project, profile)))
    print_json(status_json(report)) if as_json else show(*render_status(report))


@app.command()
def plan(project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Show what a restart of the bot now would cost, for each shard, and how long it would take."""
    report = asyncio.run(read_gateway(load_settings(project, profile)))
    print_json(plan_json(report)) if as_json else show(*render_plan(report))


@app.command()
def login(reason: Reason = "", project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Let a bot that waits for logins log in now: end its pause, and take the reserve. The audit log records it.

    Exit code 2 if it does not wait, 7 if no bot runs.
    """
    asyncio.run(log_in_now(load_settings(project, profile), reason))
    print_json({"logging_in": True}) if as_json else print("The bot logs in now.")


@app.command()
def restart(
    shard: Annotated[
        int | None, typer.Option("--shard", metavar="N", min=0, help="Only this shard; without it, all of them.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Log in again, which costs a login, instead of resuming the session.")
    ] = False,
    reason: Reason = "",
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Let the running bot connect to Discord again. The process goes on; the audit log records it.

    A resumed session misses no event. Exit code 5 if the logins that --fresh needs are not left, 7 if no bot runs.
    """
    shards = asyncio.run(reconnect(load_settings(project, profile), shard, fresh=fresh, reason=reason))
    if as_json:
        print_json({"shards": list(shards), "fresh": fresh})
    else:
        what = f"shard {shards[0]}" if len(shards) == 1 else f"{len(shards)} shards"
        print(f"{what}: {'logging in again' if fresh else 'reconnecting'}.")

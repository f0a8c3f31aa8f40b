"""``botctl settings``: what a guild has set for itself, shown and changed; a running bot goes by it at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from botctl.cli.options import AsJson, Profile, Project
from botctl.cli.settings import load_settings
from botctl.core.config.settings import DISCORD_ID
from botctl.core.contracts.guild_settings import GuildSettings, plain, unknown
from botctl.core.errors import UsageError
from botctl.core.escape import safe
from botctl.run.oneshot.guild_settings import guild_settings

app = typer.Typer(
    add_completion=False, no_args_is_help=True, rich_markup_mode=None, help="Show or change the settings of a guild."
)

Guild = Annotated[str, typer.Argument(metavar="GUILD", help="The guild's id.", show_default=False)]
Key = Annotated[str, typer.Argument(metavar="KEY", help="locale, disabled or log_channel.", show_default=False)]
Value = Annotated[
    str,
    typer.Argument(
        metavar="VALUE",
        help="A locale (de); command names (roll, ops status; +poll adds, -poll takes away); a channel's id; or none.",
        show_default=False,
    ),
]


@app.command()
def show(guild: Guild, project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Show the settings of a guild."""
    _print(guild, _settings_of(guild, None, project, profile, as_json=as_json), as_json=as_json)


@app.command("set", context_settings={"ignore_unknown_options": True})
def set_(
    guild: Guild, key: Key, value: Value, project: Project = None, profile: Profile = None, as_json: AsJson = False
) -> None:
    """Change one setting of a guild."""
    _print(guild, _settings_of(guild, {key: value}, project, profile, as_json=as_json), as_json=as_json)


@app.command()
def reset(guild: Guild, key: Key, project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Let one setting of a guild be as if it had never been set."""
    _print(guild, _settings_of(guild, {key: None}, project, profile, as_json=as_json), as_json=as_json)


def _settings_of(
    guild: str, changes: dict[str, Any] | None, project: Path | None, profile: str | None, *, as_json: bool
) -> GuildSettings:
    """The settings of ``guild``, after ``changes`` where there are any."""
    if not DISCORD_ID.matches(guild):
        raise UsageError(f"{guild[:40]!r} is not the id of a guild.", hint=f"It is {DISCORD_ID.description}.")
    loaded = load_settings(project, profile)

    async def ask() -> GuildSettings:
        async with guild_settings(loaded) as (store, commands):
            if changes is None:
                return await store.get(guild)
            settings = await store.update(guild, changes, actor="cli")
            if changes.get("disabled") and not as_json:
                _warn(settings, await commands())
            return settings

    return asyncio.run(ask())


def _warn(settings: GuildSettings, commands: Sequence[str]) -> None:
    """Say what is switched off and seems to be misspelt; or that nobody knows."""
    names = unknown(settings, commands)
    if names and commands:
        typer.echo(f"Note: the bot has no command {', '.join(names)}; is it misspelt?", err=True)
    elif names:
        typer.echo("Note: no bot has told its commands here yet, so it is not known whether these exist.", err=True)


def _print(guild: str, settings: GuildSettings, *, as_json: bool) -> None:
    values = plain(settings)
    if as_json:
        print(json.dumps({"guild": guild, "revision": settings.revision} | values))
        return
    for key, value in values.items():
        words = ", ".join(value) if isinstance(value, list) else value
        print(f"{key:<12} {safe(words or '-')}")

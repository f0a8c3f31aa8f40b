"""``botctl settings``: the settings of a guild. A running bot uses a change at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from botctl.cli.json_output import print_json
from botctl.cli.options import AsJson, Profile, Project, Reason
from botctl.cli.settings import load_settings
from botctl.core.config.value_types import DISCORD_ID
from botctl.core.contracts.guild_settings import GuildSettings, plain, unknown
from botctl.core.errors import UsageError
from botctl.core.escape import safe
from botctl.run.oneshot.guild_settings import open_guild_settings

app = typer.Typer(
    add_completion=False, no_args_is_help=True, rich_markup_mode=None, help="Show or change the settings of a guild."
)

Guild = Annotated[str, typer.Argument(metavar="GUILD", help="The guild's id.", show_default=False)]
Key = Annotated[str, typer.Argument(metavar="KEY", help="locale, disabled or log_channel.", show_default=False)]
Value = Annotated[
    str,
    typer.Argument(
        metavar="VALUE",
        help="A locale (de); command names, or +poll to add and -poll to remove one; a channel's id; or none.",
        show_default=False,
    ),
]


@app.command()
def show(guild: Guild, project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Show the settings of a guild."""
    _print(guild, _read_or_change(guild, None, project, profile, as_json=as_json), as_json=as_json)


@app.command("set", context_settings={"ignore_unknown_options": True})
def set_(
    guild: Guild,
    key: Key,
    value: Value,
    reason: Reason = "",
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Change one setting of a guild."""
    _print(
        guild, _read_or_change(guild, {key: value}, project, profile, reason=reason, as_json=as_json), as_json=as_json
    )


@app.command()
def reset(
    guild: Guild,
    key: Key,
    reason: Reason = "",
    project: Project = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Remove one setting of a guild, so that its default is used."""
    _print(
        guild, _read_or_change(guild, {key: None}, project, profile, reason=reason, as_json=as_json), as_json=as_json
    )


def _read_or_change(
    guild: str,
    changes: dict[str, Any] | None,
    project: Path | None,
    profile: str | None,
    *,
    reason: str = "",
    as_json: bool,
) -> GuildSettings:
    if not DISCORD_ID.matches(guild):
        raise UsageError(f"{guild[:40]!r} is not the id of a guild.", hint=f"A guild's id is {DISCORD_ID.description}.")
    loaded = load_settings(project, profile)

    async def read_or_change() -> GuildSettings:
        async with open_guild_settings(loaded) as (store, list_commands):
            if changes is None:
                return await store.get(guild)
            settings = await store.update(guild, changes, actor="cli", reason=reason)
            if changes.get("disabled") and not as_json:
                _warn_of_unknown_commands(settings, await list_commands())
            return settings

    return asyncio.run(read_or_change())


def _warn_of_unknown_commands(settings: GuildSettings, commands: Sequence[str]) -> None:
    names = unknown(settings, commands)
    if names and commands:
        typer.echo(f"Note: the bot has no command {', '.join(names)}; is it misspelt?", err=True)
    elif names:
        typer.echo("Note: these names could not be checked, because the bot has never run here.", err=True)


def _print(guild: str, settings: GuildSettings, *, as_json: bool) -> None:
    values = plain(settings)
    if as_json:
        print_json({"guild": guild, "revision": settings.revision} | values)
        return
    for key, value in values.items():
        text = ", ".join(value) if isinstance(value, list) else value
        print(f"{key:<12} {safe(text or '-')}")

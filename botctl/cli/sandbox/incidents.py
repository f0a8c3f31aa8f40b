"""``botctl sandbox incident``: one of Discord's bad days, made on purpose."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table

from botctl.cli.options import AsJson, Project
from botctl.cli.output import show
from botctl.cli.sandbox.connection import Url, read_text, resolve_locator
from botctl.core.errors import UsageError
from botctl.sandbox.console.client import SandboxClient
from botctl.sandbox.console.incident_args import describe_result, start_body

Json = dict[str, Any]


def incident(
    *,
    name: Annotated[str | None, typer.Argument(help="Which one; without it, what there is and goes on.")] = None,
    period: Annotated[
        str | None, typer.Option("--for", metavar="PERIOD", help="How long: 10s, 2m. Else until --stop.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting of the incident; may repeat.")
    ] = None,
    stop: Annotated[str | None, typer.Option("--stop", metavar="NAME", help='End this one; "all" ends all.')] = None,
    scenario: Annotated[
        Path | None, typer.Option("--scenario", metavar="FILE", help="Play the incidents of a TOML file.")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    project: Project = None,
) -> None:
    """Make one of Discord's bad days in the local Discord: op 7 storms, 429 waves, outages, a ban, and more.

    docs/sandbox-incidents.md says what each does, and where it is known from.
    """
    if sum(one is not None for one in (name, stop, scenario)) > 1:
        raise UsageError("Only one of these at a time: a name, --stop, --scenario.")
    body = _build_body(name, period, settings or [], stop, scenario)
    said = _post(body, project, url)
    if as_json:
        print(json.dumps(said, ensure_ascii=False))
    else:
        show(*_render(body, said))


def _build_body(
    name: str | None, period: str | None, settings: list[str], stop: str | None, scenario: Path | None
) -> Json:
    """The body of the control call; raises BotctlError for what cannot be read."""
    if stop is not None:
        return {"stop": stop}
    if scenario is not None:
        return {"scenario": read_text("scenario", scenario)}
    return start_body(name, period, settings) if name else {}


def _post(body: Json, project: Path | None, url: str | None) -> Json:
    async def call() -> Json:
        locator = resolve_locator(project, url)
        async with SandboxClient(*locator.sandbox(), locator) as client:
            return await client.incidents(body)

    return asyncio.run(call())


def _render(body: Json, said: Json) -> list[RenderableType]:
    """What a person reads of it."""
    return [describe_result(body, said)] if body else _table(said)


def _table(said: Json) -> list[RenderableType]:
    going_on = {one["name"] for one in said["going_on"]}
    table = Table("", "incident", "what happens", "settings", box=None, pad_edge=False)
    for one in sorted(said["incidents"], key=lambda one: str(one["name"])):
        settings = " ".join(f"{key}={value}" for key, value in one["settings"].items() if value != "")
        first = str(one["what"]).partition("\n\n")[0].replace("\n", " ").replace("``", "")
        table.add_row("●" if one["name"] in going_on else "", one["name"], first, settings)
    playing = ["A scenario plays."] if said["scenario"] else []
    return [table, *playing]

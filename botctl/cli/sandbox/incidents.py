"""``botctl sandbox incident``: simulates failures of Discord (incidents)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table

from botctl.cli.json_output import print_json
from botctl.cli.options import AsJson, Project
from botctl.cli.output import show
from botctl.cli.sandbox.connection import Url, read_text, resolve_locator
from botctl.core.errors import UsageError
from botctl.sandbox.console.client import SandboxClient
from botctl.sandbox.console.incident_args import build_start_body, describe_result

Json = dict[str, Any]


def incident(
    *,
    name: Annotated[str | None, typer.Argument(help="The incident. Without it: a list.")] = None,
    period: Annotated[
        str | None, typer.Option("--for", metavar="PERIOD", help="The duration: 10s, 2m. Default: until --stop.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting; can be repeated."),
    ] = None,
    stop: Annotated[str | None, typer.Option("--stop", metavar="NAME", help='Stop this incident, or "all".')] = None,
    scenario: Annotated[
        Path | None, typer.Option("--scenario", metavar="FILE", help="Play the incidents of a TOML file.")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    project: Project = None,
) -> None:
    """Simulate a failure of Discord: forced reconnects, rate limits, outages, a ban, and more.

    docs/sandbox-incidents.md describes each incident, and how we know that Discord does it.
    """
    if sum(option is not None for option in (name, stop, scenario)) > 1:
        raise UsageError("Use only one of these: a name, --stop, --scenario.")
    body = _build_body(name, period, settings or [], stop, scenario)
    response = _post(body, project, url)
    if as_json:
        print_json(response)
    else:
        show(*_render(body, response))


def _build_body(
    name: str | None, period: str | None, settings: list[str], stop: str | None, scenario: Path | None
) -> Json:
    """The body of the request to the sandbox's control API. Raises UsageError."""
    if stop is not None:
        return {"stop": stop}
    if scenario is not None:
        return {"scenario": read_text("scenario", scenario)}
    return build_start_body(name, period, settings) if name else {}


def _post(body: Json, project: Path | None, url: str | None) -> Json:
    async def call() -> Json:
        locator = resolve_locator(project, url)
        async with SandboxClient(*locator.locate(), locator) as client:
            return await client.incidents(body)

    return asyncio.run(call())


def _render(body: Json, response: Json) -> list[RenderableType]:
    return [describe_result(body, response)] if body else _build_table(response)


def _build_table(response: Json) -> list[RenderableType]:
    active = {item["name"] for item in response["going_on"]}
    table = Table("", "incident", "what happens", "settings", box=None, pad_edge=False)
    for item in sorted(response["incidents"], key=lambda item: str(item["name"])):
        settings = " ".join(f"{key}={value}" for key, value in item["settings"].items() if value != "")
        summary = str(item["what"]).partition("\n\n")[0].replace("\n", " ").replace("``", "")
        table.add_row("●" if item["name"] in active else "", item["name"], summary, settings)
    playing = ["A scenario is running."] if response["scenario"] else []
    return [table, *playing]

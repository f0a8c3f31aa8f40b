"""``botctl sandbox record`` and ``traffic``: what goes over REST and the gateway, in a file without secrets."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from botctl.cli.options import Project
from botctl.cli.output import show
from botctl.cli.sandbox.connection import Url, home, text_of
from botctl.core.errors import BotctlError, UsageError
from botctl.core.escape import escape_unprintable
from botctl.sandbox.console.client import SandboxClient
from botctl.sandbox.console.incident_args import seconds
from botctl.sandbox.console.recording import Renaming, Request, Told, events, read, requests, shown

_TRIES = 5  # of a request that is held up by a limit
_RATE_LIMITED = 429
Json = dict[str, Any]


def record(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; what is there is replaced.")],
    period: Annotated[
        str | None, typer.Option("--for", metavar="PERIOD", help="How long: 30s, 2m. Else until Ctrl-C.")
    ] = None,
    most_mb: Annotated[float, typer.Option("--most-mb", min=0.001, help="Stop when the file has this size.")] = 100.0,
    url: Url = None,
    project: Project = None,
) -> None:
    """Record REST and gateway, without any secret.

    Each line of the file is one request or payload, as JSON.
    """
    limit_s = seconds(period) if period else None
    count, why = _run(project, url, lambda client: _recorded(client, file, limit_s, most_mb * 1e6))
    typer.echo(f"{count} line{'' if count == 1 else 's'} in {file}{why}.", err=True)


def traffic(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `record` has made.")],
    again: Annotated[
        bool, typer.Option("--again", help="Ask the bots' REST requests again, and compare the statuses.")
    ] = False,
    tell: Annotated[
        bool, typer.Option("--tell", help="Tell the bots that are connected the recorded events again.")
    ] = False,
    url: Url = None,
    project: Project = None,
) -> None:
    """Show recorded traffic; or ask its requests again, or tell its events again.

    Exit code 1: with --again, some were answered with another status (no bot need be connected); with --tell, some
    were heard by nobody.
    """
    if again and tell:
        raise UsageError("Only one of these at a time: --again, --tell.")
    lines = read(text_of("recording", file))
    if tell:
        if not _run(project, url, lambda client: _told_again(client, list(events(lines)))):
            raise typer.Exit(1)
    elif not again:
        _show(lines)
        if not lines:
            typer.echo(f"No traffic is in {file}.", err=True)
    elif not _run(project, url, lambda client: _asked_again(client, list(requests(lines)))):
        raise typer.Exit(1)


def _run(project: Path | None, url: str | None, do: Any) -> Any:
    async def run() -> Any:
        found = home(project, url)
        async with SandboxClient(*found.sandbox(), found) as client:
            return await do(client)

    return asyncio.run(run())


async def _recorded(client: SandboxClient, path: Path, limit_s: float | None, most_bytes: float) -> tuple[int, str]:
    """Write until the time is over, the file is full, the sandbox ends, or Ctrl-C; how many lines, and why it ended."""
    count = size = 0
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise BotctlError(f"The recording {path} cannot be written: {error.strerror}.") from None
    with os.fdopen(descriptor, "wb") as file:
        try:
            async with asyncio.timeout(limit_s):
                async for line in client.traffic():
                    data = line.encode()
                    if size + len(data) > most_bytes:
                        return count, f", which is full with {most_bytes / 1e6:g} MB"
                    file.write(data)
                    file.flush()
                    size += len(data)
                    count += 1
        except (TimeoutError, asyncio.CancelledError):
            return count, ""
    return count, "; the sandbox has ended"


async def _asked_again(client: SandboxClient, asked: list[Request]) -> bool:
    """Ask all, print what is answered otherwise; whether nothing is."""
    bots = {bot.name: bot.application_id for bot in (await client.state()).bots}
    tokens = {one: await client.token(bots[one]) for one in {request.bot for request in asked} & bots.keys()}
    renamed, wrong = Renaming(), 0
    for request in asked:
        if request.bot not in tokens:
            wrong += 1
            show(f"{request}: there is no bot {request.bot}")
            continue
        status, answer = await _asked(client, request, tokens[request.bot], renamed)
        renamed.learn(request.answer, answer)
        if status != request.status:
            wrong += 1
            show(f"{request}: {status} instead of {request.status}")
    show(
        f"{wrong} of {len(asked)} requests were answered otherwise." if wrong else f"{len(asked)} requests: as before."
    )
    return not wrong


async def _told_again(client: SandboxClient, told: list[Told]) -> bool:
    """Tell all, in their order, as fast as they are taken; whether each was heard."""
    bots = {bot.name: bot.application_id for bot in (await client.state()).bots}
    unheard: Counter[str] = Counter()
    for one in told:
        if one.bot not in bots or not await client.tell(bots[one.bot], one.event, one.data):
            unheard[one.bot] += 1
    for bot, count in unheard.items():
        show(f"{count} were not heard: {bot} is not connected, or has not their intents.")
    show(f"{len(told) - unheard.total()} of {len(told)} events were told again.")
    return not unheard


async def _asked(client: SandboxClient, request: Request, token: str, renamed: Any) -> tuple[int, Any]:
    """The status and the answer; where a limit holds it up that did not then, it waits."""
    status, answer = 0, None
    for _ in range(_TRIES):
        given = {"params": renamed(dict(request.query)), "json": renamed(request.body)}
        given = {key: one for key, one in given.items() if one is not None}
        status, answer = await client.rest(request.method, renamed(request.path), token, **given)
        if status != _RATE_LIMITED or request.status == _RATE_LIMITED or not isinstance(answer, dict):
            break
        await asyncio.sleep(float(answer["retry_after"]))
    return status, answer


def _show(lines: list[Json]) -> None:
    """In a terminal a line each, cut at its edge; whole in a pipe."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in lines:
        text = escape_unprintable(shown(line))
        print(text if width is None or len(text) <= width else text[: width - 1] + "…")

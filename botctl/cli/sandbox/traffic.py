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
from botctl.cli.sandbox.connection import Url, read_text, resolve_locator
from botctl.core.errors import BotctlError, UsageError
from botctl.core.escape import visible
from botctl.sandbox.console.client import SandboxClient
from botctl.sandbox.console.incident_args import parse_seconds
from botctl.sandbox.console.recording import (
    IdMapping,
    RecordedEvent,
    RecordedRequest,
    format_line,
    parse_recording,
    replayable_events,
    replayable_requests,
)

_MAX_ATTEMPTS = 5  # of a request that is held up by a limit
_RATE_LIMITED = 429
Json = dict[str, Any]


def record(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; what is there is replaced.")],
    period: Annotated[
        str | None, typer.Option("--for", metavar="PERIOD", help="How long: 30s, 2m. Else until Ctrl-C.")
    ] = None,
    max_mb: Annotated[float, typer.Option("--most-mb", min=0.001, help="Stop when the file has this size.")] = 100.0,
    url: Url = None,
    project: Project = None,
) -> None:
    """Record REST and gateway, without any secret.

    Each line of the file is one request or payload, as JSON.
    """
    limit_s = parse_seconds(period) if period else None
    count, reason = _run(project, url, lambda client: _write_recording(client, file, limit_s, max_mb * 1e6))
    typer.echo(f"{count} line{'' if count == 1 else 's'} in {file}{reason}.", err=True)


def traffic(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `record` has made.")],
    replay_requests: Annotated[
        bool, typer.Option("--again", help="Ask the bots' REST requests again, and compare the statuses.")
    ] = False,
    replay_events: Annotated[
        bool, typer.Option("--tell", help="Tell the bots that are connected the recorded events again.")
    ] = False,
    url: Url = None,
    project: Project = None,
) -> None:
    """Show recorded traffic; or ask its requests again, or tell its events again.

    Exit code 1: with --again, some were answered with another status (no bot need be connected); with --tell, some
    were heard by nobody.
    """
    if replay_requests and replay_events:
        raise UsageError("Only one of these at a time: --again, --tell.")
    lines = parse_recording(read_text("recording", file))
    if replay_events:
        if not _run(project, url, lambda client: _replay_events(client, list(replayable_events(lines)))):
            raise typer.Exit(1)
    elif not replay_requests:
        _print_lines(lines)
        if not lines:
            typer.echo(f"No traffic is in {file}.", err=True)
    elif not _run(project, url, lambda client: _replay_requests(client, list(replayable_requests(lines)))):
        raise typer.Exit(1)


def _run(project: Path | None, url: str | None, action: Any) -> Any:
    async def run() -> Any:
        locator = resolve_locator(project, url)
        async with SandboxClient(*locator.sandbox(), locator) as client:
            return await action(client)

    return asyncio.run(run())


async def _write_recording(
    client: SandboxClient, path: Path, limit_s: float | None, max_bytes: float
) -> tuple[int, str]:
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
                    if size + len(data) > max_bytes:
                        return count, f", which is full with {max_bytes / 1e6:g} MB"
                    file.write(data)
                    file.flush()
                    size += len(data)
                    count += 1
        except (TimeoutError, asyncio.CancelledError):
            return count, ""
    return count, "; the sandbox has ended"


async def _replay_requests(client: SandboxClient, requests: list[RecordedRequest]) -> bool:
    """Ask all, print what is answered otherwise; whether nothing is."""
    bots = {bot.name: bot.application_id for bot in (await client.state()).bots}
    tokens = {one: await client.token(bots[one]) for one in {request.bot for request in requests} & bots.keys()}
    ids, changed = IdMapping(), 0
    for request in requests:
        if request.bot not in tokens:
            changed += 1
            show(f"{request}: there is no bot {request.bot}")
            continue
        status, answer = await _send_request(client, request, tokens[request.bot], ids)
        ids.learn(request.answer, answer)
        if status != request.status:
            changed += 1
            show(f"{request}: {status} instead of {request.status}")
    show(
        f"{changed} of {len(requests)} requests were answered otherwise."
        if changed
        else f"{len(requests)} requests: as before."
    )
    return not changed


async def _replay_events(client: SandboxClient, events: list[RecordedEvent]) -> bool:
    """Tell all, in their order, as fast as they are taken; whether each was heard."""
    bots = {bot.name: bot.application_id for bot in (await client.state()).bots}
    unheard: Counter[str] = Counter()
    for one in events:
        if one.bot not in bots or not await client.dispatch_event(bots[one.bot], one.event, one.data):
            unheard[one.bot] += 1
    for bot, count in unheard.items():
        show(f"{count} were not heard: {bot} is not connected, or has not their intents.")
    show(f"{len(events) - unheard.total()} of {len(events)} events were told again.")
    return not unheard


async def _send_request(client: SandboxClient, request: RecordedRequest, token: str, ids: Any) -> tuple[int, Any]:
    """The status and the answer; where a limit holds it up that did not then, it waits."""
    status, answer = 0, None
    for _ in range(_MAX_ATTEMPTS):
        given = {"params": ids(dict(request.query)), "json": ids(request.body)}
        given = {key: one for key, one in given.items() if one is not None}
        status, answer = await client.rest(request.method, ids(request.path), token, **given)
        if status != _RATE_LIMITED or request.status == _RATE_LIMITED or not isinstance(answer, dict):
            break
        await asyncio.sleep(float(answer["retry_after"]))
    return status, answer


def _print_lines(lines: list[Json]) -> None:
    """In a terminal a line each, cut at its edge; whole in a pipe."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in lines:
        text = visible(format_line(line))
        print(text if width is None or len(text) <= width else text[: width - 1] + "…")

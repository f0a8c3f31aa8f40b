"""``botctl sandbox record`` and ``traffic``: REST and gateway traffic in a file, without secrets."""

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
from botctl.core.escape import escape_unprintable
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

_MAX_ATTEMPTS = 5  # of a rate limited request
_RATE_LIMITED = 429
Json = dict[str, Any]


def record(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file; it is overwritten.")],
    period: Annotated[
        str | None, typer.Option("--for", metavar="PERIOD", help="The duration: 30s, 2m. Default: until Ctrl-C.")
    ] = None,
    max_mb: Annotated[float, typer.Option("--most-mb", min=0.001, help="Stop at this file size.")] = 100.0,
    url: Url = None,
    project: Project = None,
) -> None:
    """Record REST and gateway traffic without secrets.

    Each line of the file is one request or payload, as JSON.
    """
    limit_s = parse_seconds(period) if period else None
    count, reason = _run(project, url, lambda client: _write_recording(client, file, limit_s, max_mb * 1e6))
    typer.echo(f"{count} line{'' if count == 1 else 's'} in {file}{reason}.", err=True)


def traffic(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording from `sandbox record`.")],
    replay_requests: Annotated[
        bool, typer.Option("--again", help="Send the bots' REST requests again and compare the statuses.")
    ] = False,
    replay_events: Annotated[
        bool, typer.Option("--tell", help="Send the recorded events again to the connected bots.")
    ] = False,
    url: Url = None,
    project: Project = None,
) -> None:
    """Print recorded traffic, or replay its requests or events.

    Exit code 1: with --again, a request got another status (no bot has to be connected); with --tell, an event
    reached no bot.
    """
    if replay_requests and replay_events:
        raise UsageError("Use only one of these: --again, --tell.")
    lines = parse_recording(read_text("recording", file))
    if replay_events:
        if not _run(project, url, lambda client: _replay_events(client, list(replayable_events(lines)))):
            raise typer.Exit(1)
    elif not replay_requests:
        _print_lines(lines)
        if not lines:
            typer.echo(f"{file} contains no traffic.", err=True)
    elif not _run(project, url, lambda client: _replay_requests(client, list(replayable_requests(lines)))):
        raise typer.Exit(1)


def _run(project: Path | None, url: str | None, action: Any) -> Any:
    async def run() -> Any:
        locator = resolve_locator(project, url)
        async with SandboxClient(*locator.locate(), locator) as client:
            return await action(client)

    return asyncio.run(run())


async def _write_recording(
    client: SandboxClient, path: Path, limit_s: float | None, max_bytes: float
) -> tuple[int, str]:
    """Record until a limit, the sandbox's end or Ctrl-C; return the number of lines, and the reason as text."""
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
                        return count, f", which has reached {max_bytes / 1e6:g} MB"
                    file.write(data)
                    file.flush()
                    size += len(data)
                    count += 1
        except (TimeoutError, asyncio.CancelledError):
            return count, ""
    return count, "; the sandbox has stopped"


async def _replay_requests(client: SandboxClient, requests: list[RecordedRequest]) -> bool:
    """Send all requests and print changed statuses; return whether there are none."""
    bots = {bot.name: bot.application_id for bot in (await client.state()).bots}
    tokens = {name: await client.token(bots[name]) for name in {request.bot for request in requests} & bots.keys()}
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
        f"{changed} of {len(requests)} requests got another status."
        if changed
        else f"{len(requests)} requests: no differences."
    )
    return not changed


async def _replay_events(client: SandboxClient, events: list[RecordedEvent]) -> bool:
    """Send all events in order; return whether each reached a bot's gateway session."""
    bots = {bot.name: bot.application_id for bot in (await client.state()).bots}
    undelivered: Counter[str] = Counter()
    for event in events:
        if event.bot not in bots or not await client.dispatch_event(bots[event.bot], event.event, event.data):
            undelivered[event.bot] += 1
    for bot, count in undelivered.items():
        show(f"{count} were not delivered: {bot} is not connected, or does not have the intents.")
    show(f"{len(events) - undelivered.total()} of {len(events)} events were sent again.")
    return not undelivered


async def _send_request(client: SandboxClient, request: RecordedRequest, token: str, ids: IdMapping) -> tuple[int, Any]:
    """Return status and body. After a rate limit that the recording does not have, wait and send it again."""
    status, answer = 0, None
    for _ in range(_MAX_ATTEMPTS):
        arguments = {"params": ids(dict(request.query)), "json": ids(request.body)}
        arguments = {key: value for key, value in arguments.items() if value is not None}
        status, answer = await client.rest(request.method, ids(request.path), token, **arguments)
        if status != _RATE_LIMITED or request.status == _RATE_LIMITED or not isinstance(answer, dict):
            break
        await asyncio.sleep(float(answer["retry_after"]))
    return status, answer


def _print_lines(lines: list[Json]) -> None:
    """Print one line each, cut at the terminal's width; uncut in a pipe."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in lines:
        text = escape_unprintable(format_line(line))
        print(text if width is None or len(text) <= width else text[: width - 1] + "…")

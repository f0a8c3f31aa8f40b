"""``python -m botctl.sandbox``: the local Discord as a process of its own, until SIGTERM or SIGINT.

Its ready line is one JSON object on stdout: ``{"url", "pid"}``. The bot's token and the control secret come by the
environment (``BOTCTL_SANDBOX_TOKEN``, ``BOTCTL_SANDBOX_SECRET``), never by an argument, which everyone on the machine
can read; one that is not given is made up and told in the ready line (``token``, ``control_secret``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from botctl.core.errors import BotctlError, ExitCode, Held
from botctl.sandbox import limits, storage
from botctl.sandbox.files import Files
from botctl.sandbox.serve import serving
from botctl.sandbox.server import Access, Sandbox


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(run(options.port, options.state, limits.Limits().but(limits.pairs(options.limit))))
    except BotctlError as error:
        sys.stderr.write(f"{error} {error.hint}".rstrip() + "\n")  # one line: the last one is what the starter shows
        return int(error.exit_code)
    return int(ExitCode.OK)


async def run(port: int, state: Path | None, limited: limits.Limits) -> None:
    """Serve on ``port`` (0: any free one) with the world of ``state``, if given. Raises Held when the port is taken."""
    world = storage.load(state)
    access, told = _access(next(iter(world.applications)))
    files = Files(state.with_suffix(".files") if state else None)
    files.forget_all_but(world.attachment_ids())
    sandbox = Sandbox(world, access, files=files, limits=limited)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    saving: asyncio.Task[None] | None = None
    if state is not None:
        saver = storage.Saver(world, state)
        sandbox.changed = saver.changed
        saving = asyncio.create_task(saver.run())
    try:
        async with serving(sandbox, port=port) as url:
            sys.stdout.write(json.dumps({"url": url, "pid": os.getpid(), **told}) + "\n")
            sys.stdout.flush()
            await stop.wait()
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno else str(error)
        raise Held(f"The sandbox cannot listen on port {port}: {why}.") from None
    finally:
        if saving is not None:
            saving.cancel()
            await asyncio.wait((saving,))


def _access(application_id: str) -> tuple[Access, dict[str, str]]:
    """The secrets, and those of them that were made up here."""
    told: dict[str, str] = {}
    for name, variable in (("token", "BOTCTL_SANDBOX_TOKEN"), ("control_secret", "BOTCTL_SANDBOX_SECRET")):
        if not os.environ.get(variable):
            told[name] = secrets.token_urlsafe(32)
    token = told.get("token") or os.environ["BOTCTL_SANDBOX_TOKEN"]
    secret = told.get("control_secret") or os.environ["BOTCTL_SANDBOX_SECRET"]
    return Access({token: application_id}, secret), told


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m botctl.sandbox", description="A local Discord on loopback.")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--state", type=Path, default=None, metavar="FILE", help="keep the world here")
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another limit than Discord's; again for more",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

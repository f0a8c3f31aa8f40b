"""``python -m botctl.sandbox``: the local Discord as its own process, until SIGTERM or SIGINT.

Its ready line is one JSON object on stdout: ``{"url", "pid"}``. The bot's token and the control secret come from the
environment (``BOTCTL_SANDBOX_TOKEN``, ``BOTCTL_SANDBOX_SECRET``), because everyone on the machine can read arguments. A
missing one is generated and printed in the ready line (``token``, ``control_secret``).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from botctl.core.errors import BotctlError, ExitCode
from botctl.sandbox.model import limits
from botctl.sandbox.process.secret import SECRET_VARIABLE, TOKEN_VARIABLE, generate_secret
from botctl.sandbox.process.standalone import ServeOptions, run_standalone
from botctl.sandbox.server import Sandbox


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal; return the exit code."""
    options = _parser().parse_args(arguments)
    secret, token = os.environ.get(SECRET_VARIABLE), os.environ.get(TOKEN_VARIABLE)

    def print_ready_line(sandbox: Sandbox) -> None:
        ready = {"url": sandbox.url, "pid": os.getpid()}
        ready |= {} if token else {"token": next(iter(sandbox.access.tokens))}
        ready |= {} if secret else {"control_secret": sandbox.access.control_secret}
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()

    try:
        changed_limits = limits.Limits().but(limits.pairs(options.limit))
        run_standalone(
            ServeOptions(secret or generate_secret(), options.port, options.state, limits=changed_limits, token=token),
            print_ready_line,
        )
    except BotctlError as error:
        sys.stderr.write(f"{error} {error.hint}".rstrip() + "\n")  # one line: the parent process shows the last one
        return int(error.exit_code)
    return int(ExitCode.OK)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m botctl.sandbox", description="A local Discord on loopback.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--state", type=Path, default=None, metavar="FILE", help="keep the world in FILE")
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change one of Discord's limits; can be repeated",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

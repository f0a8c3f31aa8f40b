"""``python -m botctl.sandbox``: run the sandbox as its own process, until a signal arrives.

When it is ready it prints one JSON object to stdout: ``{"url", "pid"}``. The bot token and the control secret come from
the environment (``BOTCTL_SANDBOX_TOKEN``, ``BOTCTL_SANDBOX_SECRET``), because every user of the machine can read the
arguments of a process. A missing one is generated and printed too (``token``, ``control_secret``).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from botctl.core.errors import BotctlError, ExitCode
from botctl.core.safe_streams import open_standard_descriptors, reveal, safe_streams
from botctl.sandbox.model import limits
from botctl.sandbox.process.secret import SECRET_VARIABLE, TOKEN_VARIABLE, generate_secret
from botctl.sandbox.process.standalone import ServeOptions, run_standalone
from botctl.sandbox.sandbox import Sandbox


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal; returns the exit code."""
    options = _parser().parse_args(arguments)
    secret, token = os.environ.get(SECRET_VARIABLE), os.environ.get(TOKEN_VARIABLE)

    def print_ready(sandbox: Sandbox) -> None:
        ready = {"url": sandbox.url, "pid": os.getpid()}
        ready |= {} if token else {"token": next(iter(sandbox.access.tokens))}
        ready |= {} if secret else {"control_secret": sandbox.access.control_secret}
        reveal(json.dumps(ready))

    try:
        limited = limits.Limits().replace(limits.parse_assignments(options.limit))
        run_standalone(
            ServeOptions(secret or generate_secret(), options.port, options.state, limits=limited, token=token),
            print_ready,
        )
    except BotctlError as error:
        sys.stderr.write(f"{error} {error.hint}".rstrip() + "\n")  # one line: the parent process shows the last line
        return int(error.exit_code)
    return int(ExitCode.OK)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m botctl.sandbox", description="A local Discord on loopback.")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--state", type=Path, default=None, metavar="FILE", help="save the world in this file")
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a limit, like create_message=5/5s; repeatable",
    )
    return parser


if __name__ == "__main__":
    open_standard_descriptors()
    with safe_streams():
        code = main()
    sys.exit(code)

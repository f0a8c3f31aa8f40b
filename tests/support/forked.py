"""Calls of the command line, each in a process of its own that need not load the libraries anew.

A server process has loaded them, and nothing of botctl; every call is a fork of it. So a call costs half of what a new
interpreter would, and is otherwise the same: its arguments, folder, environment, output and exit code are its own.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

_LIBRARIES = (
    "aiohttp",
    "apscheduler.triggers.cron",
    "apscheduler.triggers.interval",
    "asyncio",
    "disnake.ext.commands",
    "dotenv.parser",
    "loguru",
    "prometheus_client",
    "psutil",
    "pydantic_settings",
    "pymongo.asynchronous.database",
    "redis.asyncio",
    "rich.console",
    "rich.table",
    "rich.text",
    "typer",
    "uvloop",
    "websockets.asyncio.server",
)
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload([__name__, *_LIBRARIES])


def botctl(words: Sequence[str], folder: Path, env: Mapping[str, str], *, limit_s: float) -> tuple[int, str, str]:
    """Call botctl and wait for its end; returns its exit code (minus the signal that ended it) and what it printed.

    Raises:
        TimeoutError: it has not ended within ``limit_s``; it is killed.
    """
    with TemporaryDirectory(prefix="bt") as said:
        out, err = Path(said, "out"), Path(said, "err")
        process = _server.Process(target=_main, args=(words, folder, dict(env), out, err))
        process.start()
        process.join(limit_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"{words} did not end in {limit_s} s: {out.read_text()}{err.read_text()}")
        code = process.exitcode
        process.close()
        return code, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")


def _main(words: Sequence[str], folder: Path, env: Mapping[str, str], out: Path, err: Path) -> None:
    os.environ.clear()
    os.environ.update(env)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for number, path, how in ((0, os.devnull, os.O_RDONLY), (1, out, flags), (2, err, flags)):
        handle = os.open(path, how, 0o600)
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(folder)
    sys.argv = ["botctl", *words]
    from botctl.cli.main import main

    main()

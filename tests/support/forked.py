"""Calls of the command line in forked processes that have the libraries loaded already.

A server process loads the libraries, but no module of botctl; each call is a fork of it. So a call takes half the time
of a new interpreter, and still has its own arguments, folder, environment, output and exit code.
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


def call_in_fork(words: Sequence[str], folder: Path, env: Mapping[str, str], *, limit_s: float) -> tuple[int, str, str]:
    """Call botctl and wait until it has ended; returns its exit code (negative for a signal), stdout and stderr.

    Raises:
        TimeoutError: it has not ended within ``limit_s``, and was killed.
    """
    with TemporaryDirectory(prefix="bt") as folder_name:
        out, err = Path(folder_name, "out"), Path(folder_name, "err")
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
    for number, path, mode in ((0, os.devnull, os.O_RDONLY), (1, out, flags), (2, err, flags)):
        handle = os.open(path, mode, 0o600)
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(folder)
    sys.argv = ["botctl", *words]
    from botctl.cli.main import main

    main()

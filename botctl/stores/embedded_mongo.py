"""The embedded document store: ``nx-27017``, MongoDB's wire protocol over SQLite, its data in ``.botctl``.

SQLite's write-ahead log keeps every acknowledged write after a kill -9; botctl writes with ``j: true``, so it also
calls fsync. tests/contract/test_mongo_traps.py shows how it differs from a MongoDB server.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Final

from botctl.core.processes.child import LaunchSpec
from botctl.core.processes.embedded import START_S, Endpoint, PartSpec
from botctl.core.processes.runtime import Runtime
from botctl.stores.sqlite_check import check_folder

NAME: Final = "mongo"
TITLE: Final = "The embedded document store"
_HOST: Final = "127.0.0.1"
_SCHEME: Final = "mongodb://"
# -P: no imports from the working directory. `-m` would import the module twice.
_PROGRAM: Final = (sys.executable, "-P", "-c", "from nx_27017.nx_27017 import main; main()")


def folder(runtime: Runtime) -> Path:
    """The data folder: one SQLite file per database."""
    return runtime.folder / "mongo"


def _new_address(_runtime: Runtime) -> str:
    """A URL with a port that is free now."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return f"{_SCHEME}{_HOST}:{probe.getsockname()[1]}"


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


async def _is_ready(endpoint: Endpoint) -> bool:
    """Whether its port is open. The server opens the port when it is ready."""
    _, writer = await asyncio.open_connection(_HOST, _port(endpoint.address))
    writer.close()
    return True


def _prepare(data: Path, pid_file: Path, port: int) -> None:
    """Remove the pid file of a killed server, which would make the new server refuse to start, and check the data.

    Raises OSError if the port is in use, StoreDamaged if a database is damaged.
    """
    check_folder(data)
    pid_file.unlink(missing_ok=True)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((_HOST, port))


def _launch(runtime: Runtime, address: str) -> LaunchSpec:
    """How to start the server at ``address``: its command, its log and its exit errors."""
    data = folder(runtime)
    data.mkdir(mode=0o700, exist_ok=True)
    pid_file = runtime.folder.resolve() / "mongo.pid"
    options = {
        "--data-dir": str(data.resolve()),
        "--host": _HOST,
        "--port": str(_port(address)),
        "--pid-file": str(pid_file),
        "--log-file": os.devnull,  # it logs to stderr, too, and that goes to our file
    }
    return LaunchSpec(
        name=TITLE,
        command=(*_PROGRAM, *(word for option in options.items() for word in option)),
        folder=data,
        log=runtime.log(NAME),
        is_ready=lambda: _is_ready(Endpoint(address)),
        prepare=lambda: _prepare(data, pid_file, _port(address)),
        start_s=START_S,
    )


# What `core.processes.embedded` needs, to start the server and to find one that runs.
PART: Final = PartSpec(name=NAME, title=TITLE, new_address=_new_address, is_ready=_is_ready, launch=_launch)

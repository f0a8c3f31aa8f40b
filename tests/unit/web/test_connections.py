"""Connections of the web server: bounded in number and in the time for their first request."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest

from botctl.web import connections as module
from botctl.web.connections import FIRST_REQUEST_S, WebConnections


class FakeConnection:
    def __init__(self) -> None:
        self.transport = Mock()


class FakeServer:
    def __init__(self) -> None:
        self.connections: list[FakeConnection] = []

    def __call__(self) -> FakeConnection:
        self.connections.append(FakeConnection())
        return self.connections[-1]


def test_connection_over_the_limit_is_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 2)
    server: Any = FakeServer()
    connections = WebConnections(server, set())
    accepted = [connections.accept() for _ in range(3)]
    assert len(server.connections) == 2
    transport = Mock()
    accepted[2].connection_made(transport)
    transport.abort.assert_called_once_with()
    server.connections.pop()
    assert connections.accept() is server.connections[-1]


def test_only_silent_connections_are_closed() -> None:
    server: Any = FakeServer()
    served: set[object] = set()
    connections = WebConnections(server, served)
    connections.accept()
    connections.accept()
    silent, busy = server.connections
    assert connections.close_silent(0) == 0
    served.add(busy)
    assert connections.close_silent(1) == 0
    assert connections.close_silent(FIRST_REQUEST_S) == 1
    silent.transport.abort.assert_called_once_with()
    busy.transport.abort.assert_not_called()
    server.connections.clear()
    connections.close_silent(FIRST_REQUEST_S + 1)
    assert served == set()

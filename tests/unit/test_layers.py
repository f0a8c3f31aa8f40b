"""What import-linter cannot see of the layers."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import botctl

PACKAGE = Path(botctl.__file__).parent
CLIENTS = {"AsyncMongoClient", "MongoClient", "Redis", "StrictRedis", "ConnectionPool", "BlockingConnectionPool"}
MAKERS = {"from_url", "from_pool"}


def makes_clients(source: str) -> Iterator[str]:
    """Every call in ``source`` that makes a client of Redis or MongoDB."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called.rpartition(".")[2] in CLIENTS | MAKERS:
                yield f"{node.lineno}: {called}"


@pytest.mark.parametrize("line", ["Redis(host='x')", "redis.asyncio.from_url(u)", "Redis.from_url(u)", "MongoClient()"])
def test_what_makes_a_client_is_seen(line):
    assert list(makes_clients(line))


def test_clients_are_made_in_stores_alone():
    """There their limits, retries and refusals are decided; everybody else asks the registry."""
    made = {
        str(path.relative_to(PACKAGE)): found
        for path in PACKAGE.rglob("*.py")
        if (found := list(makes_clients(path.read_text(encoding="utf-8"))))
    }
    assert {Path(name).parts[0] for name in made} == {"stores"}, made

"""Stores for tests: the embedded ones, one server of each per process of pytest, clean for every test.

``redis`` and ``mongo_db`` are what most tests want. Real servers take part in tests/contract when
BOTCTL_TEST_REDIS_URL / BOTCTL_TEST_MONGO_URL are set; the Redis database named there is flushed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import unquote

import pytest
from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis

from botctl.core.processes.embedded import PartSpec
from botctl.core.processes.process import die_with_parent
from botctl.core.processes.runtime import Runtime
from botctl.core.services.tasks import Tasks
from botctl.stores import embedded_mongo, embedded_redis, mongo
from botctl.stores import redis as redis_clients
from tests.support.waiting import LIMIT_S, wait_for

REAL_REDIS = os.environ.get("BOTCTL_TEST_REDIS_URL")
REAL_MONGO = os.environ.get("BOTCTL_TEST_MONGO_URL")

Database = AsyncDatabase[dict[str, Any]]


class Server:
    """An embedded store run by a test, without a bot. `kill` is kill -9; `start` brings it back at ``url``."""

    def __init__(self, recipe: PartSpec, root: Path) -> None:
        runtime = Runtime(root)
        self.url = recipe.new_address(runtime)
        self.launch = recipe.launch(runtime, self.url)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.launch.prepare()
        self.launch.log.parent.mkdir(exist_ok=True)
        with self.launch.log.open("ab") as log:
            self.process = subprocess.Popen(
                die_with_parent(self.launch.command),
                cwd=self.launch.folder,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        wait_for(self._is_open, what=f"{self.launch.name} to answer")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def _is_open(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(unquote(self.url.partition("://")[2]))
                if self.url.startswith("mongodb:"):
                    return True
                client.sendall(b"PING\r\n")
                return client.recv(100) == b"+PONG\r\n"
        except OSError:
            return False


@contextmanager
def server(recipe: PartSpec, root: Path) -> Iterator[Server]:
    """A server of one's own, for tests that kill it."""
    own = Server(recipe, root)
    try:
        own.start()
        yield own
    finally:
        own.kill()


class Watcher:
    """What the `Tasks` of a service tell: ``failures`` are ``(what, error)``."""

    def __init__(self) -> None:
        self.failures: list[tuple[str, BaseException | None]] = []

    def on_tasks_changed(self) -> None:
        pass

    def on_task_failed(self, what: str, error: BaseException | None) -> None:
        self.failures.append((what, error))


@asynccontextmanager
async def tasks_for(name: str) -> AsyncIterator[tuple[Tasks, Watcher]]:
    """The `Tasks` a factory gets from the registry, and what they tell."""
    watcher = Watcher()
    async with Tasks(name, observer=watcher, random=Random(0)) as tasks:
        yield tasks, watcher


@asynccontextmanager
async def clean_redis(url: str) -> AsyncIterator[Redis]:
    """A client as botctl makes it, on an empty database."""
    async with redis_clients.connect(url, timeout_s=LIMIT_S) as client:
        await client.flushdb()
        await client.script_flush()
        yield client


@asynccontextmanager
async def new_database(url: str) -> AsyncIterator[Database]:
    """A new database, through a client as botctl makes it. The database is dropped at the end."""
    async with mongo.connect(url, timeout_s=LIMIT_S) as client:
        database = client[f"botctl_test_{uuid.uuid4().hex}"]
        yield database
        with contextlib.suppress(Exception):  # the test may have killed the server
            async with asyncio.timeout(LIMIT_S):
                await client.drop_database(database.name)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an embedded Redis."""
    with server(embedded_redis.PART, tmp_path_factory.mktemp("redis")) as running:
        yield running.url


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an embedded document store."""
    with server(embedded_mongo.PART, tmp_path_factory.mktemp("mongo")) as running:
        yield running.url


@pytest.fixture
async def redis(redis_server: str) -> AsyncIterator[Redis]:
    """An empty Redis."""
    async with clean_redis(redis_server) as client:
        yield client


@pytest.fixture
async def mongo_db(mongo_server: str) -> AsyncIterator[Database]:
    """An empty MongoDB database."""
    async with new_database(mongo_server) as database:
        yield database

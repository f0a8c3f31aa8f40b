"""Which stores the contract is checked on: the embedded ones always, real servers where the environment names them.

``memory`` is the façade over mongomock; it takes part where a test asks for ``documents`` instead of ``mongo_db``.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.support.mongo_memory import MemoryDatabase
from tests.support.stores import REAL_MONGO, REAL_REDIS, Database, clean_redis, new_database

REDIS = ["embedded", "real"] if REAL_REDIS else ["embedded"]
MONGO = ["embedded", *REAL_MONGO]


@pytest.fixture(params=REDIS)
def redis_url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("redis_server") if request.param == "embedded" else str(REAL_REDIS)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """An empty Redis, embedded or real."""
    async with clean_redis(redis_url) as client:
        yield client


@pytest.fixture(params=MONGO)
def mongo_url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("mongo_server") if request.param == "embedded" else REAL_MONGO[request.param]


@pytest.fixture
async def mongo_db(mongo_url: str) -> AsyncIterator[Database]:
    """An empty database on a server, embedded or real."""
    async with new_database(mongo_url) as database:
        yield database


@pytest.fixture(params=[*MONGO, "memory"])
async def documents(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """An empty database on a server, embedded or real, or in memory."""
    if request.param == "memory":
        yield MemoryDatabase()
        return
    url = request.getfixturevalue("mongo_server") if request.param == "embedded" else REAL_MONGO[request.param]
    async with new_database(url) as database:
        yield database

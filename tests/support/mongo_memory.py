"""mongomock behind the awaitable methods of pymongo's async API that botctl uses: a MongoDB for unit tests.

It is one process's memory: what it says about concurrency and durability proves nothing. tests/contract says where it
does as a server does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any, Self

import mongomock


class MemoryCursor:
    """What `find` returns: sorted, skipped and limited in the usual way, then iterated or listed."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def sort(self, key: str | Sequence[tuple[str, int]], direction: int = 1) -> Self:
        self._cursor.sort(key, direction) if isinstance(key, str) else self._cursor.sort(list(key))
        return self

    def skip(self, count: int) -> Self:
        self._cursor.skip(count)
        return self

    def limit(self, count: int) -> Self:
        self._cursor.limit(count)
        return self

    def batch_size(self, count: int) -> Self:
        self._cursor.batch_size(count)
        return self

    async def to_list(self, length: int | None = None) -> list[dict[str, Any]]:
        found = list(self._cursor)
        return found if length is None else found[:length]

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        for document in self._cursor:
            yield document


class MemoryCollection:
    """A collection."""

    def __init__(self, collection: Any, database: MemoryDatabase) -> None:
        self._collection = collection
        self.database = database
        self.name = collection.name

    def find(self, *args: Any, **kwargs: Any) -> MemoryCursor:
        return MemoryCursor(self._collection.find(*args, **kwargs))

    def with_options(self, **_options: Any) -> Self:
        """The collection itself: memory is not durable."""
        return self

    async def aggregate(self, pipeline: list[dict[str, Any]]) -> MemoryCursor:
        return MemoryCursor(self._collection.aggregate(pipeline))


def _awaitable(name: str) -> Any:
    async def call(self: MemoryCollection, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._collection, name)(*args, **kwargs)

    call.__name__ = name
    return call


for _name in (
    *("insert_one", "insert_many", "find_one", "find_one_and_update", "find_one_and_delete", "update_one"),
    *("update_many", "replace_one", "delete_one", "delete_many", "count_documents", "distinct", "bulk_write"),
    *("create_index", "index_information", "drop"),
):
    setattr(MemoryCollection, _name, _awaitable(_name))


class MemoryDatabase:
    """A database: ``database["name"]`` or ``database.name`` is a collection."""

    def __init__(self, name: str = "botctl_test") -> None:
        self.name = name
        self._database = mongomock.MongoClient(tz_aware=True)[name]

    def __getitem__(self, name: str) -> Any:
        return MemoryCollection(self._database[name], self)

    def __getattr__(self, name: str) -> Any:
        return self[name]

    async def command(self, _name: str) -> dict[str, Any]:
        """The answer to ``hello``: the server's time, naive as a server's answer is."""
        return {"localTime": datetime.now(UTC).replace(tzinfo=None)}

    async def list_collection_names(self) -> list[str]:
        return list(self._database.list_collection_names())

"""The embedded document store's program: one transaction and one fsync per command."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from botctl.stores.document_server import Handler, listen

_ids = itertools.count()


class Store:
    """A handler of commands, and the SQL that it runs."""

    def __init__(self, folder: Path) -> None:
        self.handler = Handler(data_dir=str(folder))
        self.sql: list[str] = []
        self.run("insert", "first", documents=[{"_id": "1"}])  # creates the table
        self.handler.get_database("bot").db.set_trace_callback(self.sql.append)

    def run(self, name: str, collection: Any, *, payload: Any = None, **fields: Any) -> dict[str, Any]:
        body = {name: collection, "$db": "bot"} | fields
        sections = [("body", body)] + ([("payload", payload)] if payload else [])
        call = self.handler.handle_insert if name == "insert" else self.handler.handle_command
        return call({"request_id": next(_ids), "sections": sections})[1]

    def insert(self, *ids: str, **fields: Any) -> dict[str, Any]:
        return self.run("insert", "x", documents=[{"_id": name, "n": 1} for name in ids], **fields)

    @property
    def commits(self) -> int:
        return self.sql.count("COMMIT")

    def count(self, database: str = "bot") -> int:
        return self.run("count", "x", **{"$db": database}, query={})["n"]

    def synchronous(self) -> int:
        """SQLite's setting: 1 is NORMAL, 2 is FULL, an fsync for each commit."""
        return int(self.handler.get_database("bot").db.execute("PRAGMA synchronous").fetchone()[0])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.handler.close_all()


def test_command_that_writes_many_documents_commits_once(store: Store) -> None:
    store.insert(*map(str, range(100)))
    assert store.commits == 1
    store.run("update", "x", updates=[{"q": {}, "u": {"$set": {"n": 2}}, "multi": True}])
    assert store.commits == 2
    store.run("update", "x", updates=[{"q": {"_id": str(n)}, "u": {"$inc": {"n": 1}}} for n in range(50)])
    assert store.commits == 3
    store.run("delete", "x", deletes=[{"q": {"_id": str(n)}, "limit": 1} for n in range(60)])
    assert store.commits == 4
    assert store.count() == 40
    assert not store.handler.get_database("bot").db.in_transaction


def test_bulk_write_over_two_databases_commits_in_both(store: Store) -> None:
    spaces = [{"ns": "bot.x"}, {"ns": "other.x"}]
    ops = [{"insert": index, "document": {"_id": str(n)}} for index in (0, 1) for n in range(20)]
    answer = store.run("bulkWrite", 1, payload={"ops": ops, "nsInfo": spaces}, **{"$db": "admin"})
    assert answer["ok"] == 1
    assert store.commits == 1
    assert (store.count(), store.count("other")) == (20, 20)
    assert not store.handler.get_database("other").db.in_transaction


@pytest.mark.parametrize(("ordered", "stored"), [(True, 3), (False, 4)])
def test_documents_around_a_duplicate_are_stored(store: Store, ordered: bool, stored: int) -> None:
    answer = store.insert("1", "2", "3", "2", "4", ordered=ordered)
    assert (answer["n"], store.count()) == (stored, stored)
    assert [(error["index"], error["code"]) for error in answer["writeErrors"]] == [(3, 11000)]


def test_write_is_not_acknowledged_if_sqlite_undid_it(store: Store) -> None:
    """As SQLite does when the disk is full."""
    connection = store.handler.get_database("bot").db
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    answer = store.run("insert", "first", documents=[{"_id": str(n), "text": "x" * 3000} for n in range(2, 20)])
    assert answer["ok"] == 0
    assert "full" in answer["errmsg"]
    assert store.run("count", "first", query={})["n"] == 1
    assert not connection.in_transaction


@pytest.mark.parametrize("concern", [{"w": "majority", "j": True}, {"w": 1}, {"w": 0}, {}])
def test_each_commit_is_synced_whatever_the_write_concern(store: Store, concern: dict[str, Any]) -> None:
    """Else a power failure could tear several transactions, and that would look like damage at the next start."""
    store.insert("1", writeConcern=concern)
    store.run("update", "x", updates=[{"q": {}, "u": {"$set": {"n": 2}}}], writeConcern=concern)
    store.run("delete", "x", deletes=[{"q": {}, "limit": 0}], writeConcern=concern)
    assert store.synchronous() == 2


def test_socket_is_closed_to_other_users(tmp_path: Path) -> None:
    path = tmp_path / "mongo.sock"
    path.write_text("left by another program")
    with listen(path):
        assert path.stat().st_mode & 0o777 == 0o600

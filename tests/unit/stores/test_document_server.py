"""The embedded document store's program: one transaction and one fsync per command."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from botctl.stores.document_server import Handler, NotCommitted, listen, transaction

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


def test_interrupted_write_does_not_claim_that_it_was_undone(store: Store) -> None:
    """Whether what ended the transaction committed it is not known."""
    connection = store.handler.get_database("bot").db
    told = pytest.raises(NotCommitted, match="may be stored in part")
    with told, transaction(connection):
        connection.execute("CREATE TABLE stored (a)")
        connection.execute("COMMIT")
    assert connection.execute("SELECT count(*) FROM stored").fetchone() == (0,)


def test_transaction_that_was_left_open_ends_with_the_next_write(store: Store) -> None:
    store.handler.get_database("bot").db.execute("BEGIN")
    assert store.insert("1")["ok"] == 1
    assert not store.handler.get_database("bot").db.in_transaction


@pytest.mark.parametrize("name", ["insert", "find", "commitTransaction", "abortTransaction"])
def test_transaction_of_a_client_is_refused(store: Store, name: str) -> None:
    """Others wrote within it, and an abort undid what was acknowledged to them."""
    fields = {} if "Transaction" in name else {"startTransaction": True, "documents": [{"_id": "2"}]}
    answer = store.run(name, "first", autocommit=False, txnNumber=1, **fields)
    assert (answer["ok"], answer["code"]) == (0, 20)
    assert store.run("count", "first", query={})["n"] == 1


def test_file_of_gridfs_is_deleted(store: Store) -> None:
    put_file(store)
    for name, query in (("fs.files", {"_id": FILE}), ("fs.chunks", {"files_id": FILE})):
        answer = store.run("delete", name, deletes=[{"q": query, "limit": 0}])
        assert answer["ok"] == 1, answer
    assert store.run("find", "fs.files", filter={})["cursor"]["firstBatch"] == []
    assert store.run("find", "fs.chunks", filter={})["cursor"]["firstBatch"] == []


def test_chunks_of_gridfs_are_written_in_one_commit_that_is_synced(store: Store) -> None:
    put_file(store)
    assert store.commits == 2
    assert store.synchronous() == 2


FILE = ObjectId()


def put_file(store: Store) -> None:
    """What drivers send for a file of three chunks."""
    store.run("createIndexes", "fs.files", indexes=[{"key": {"filename": 1}, "name": "filename_1"}])
    chunks = [{"_id": ObjectId(), "files_id": FILE, "n": n, "data": b"x"} for n in range(3)]
    assert store.run("insert", "fs.chunks", documents=chunks)["ok"] == 1
    assert store.run("insert", "fs.files", documents=[{"_id": FILE, "filename": "a", "length": 3}])["ok"] == 1


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

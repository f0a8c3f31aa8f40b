"""The program of the embedded document store: nx-27017's server on a Unix socket, with one commit per command.

``python -c "from botctl.stores.document_server import main; main()" DATA SOCKET``

nx-27017 commits every document of a command on its own, and with ``j: true`` that is an fsync each: an insert of 5,000
documents held the lock of its database for 5 s. What is changed here:

- All that a command writes is one SQLite transaction. As in MongoDB, an insert of many documents is not undone when one
  of them fails: SQLite undoes only the statement.
- Each command that writes syncs the disk once, whatever its write concern says. So after a power failure only the last
  transaction of a write-ahead log can be torn, by which `sqlite_check` tells a power failure from damage.
- Transactions of a client are refused, as by a standalone MongoDB. There is one SQLite connection for each database, so
  what other clients wrote at that time was in the transaction, too: it was lost with an abort.
- Drivers send at most `BATCH` documents in a command, so that other commands get the lock in between.
- Commands that wait for the lock of one database hold up no command of another one: there are threads for all.
- It listens on a Unix socket that only its user may open. nx-27017 has a TCP port and no passwords.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import uvloop
from neosqlite.gridfs import GridFSBucket  # type: ignore[import-untyped]
from nx_27017 import handler as nx  # type: ignore[import-untyped]
from nx_27017.server import handle_client  # type: ignore[import-untyped]

BATCH: Final = 1_000  # documents, or updates, that a driver sends in one command
THREADS: Final = 256  # each connection has at most one command under way
_WRITES: Final = {"insert", "update", "delete", "findAndModify", "bulkWrite"}
_OF_TRANSACTIONS: Final = {"startTransaction", "autocommit", "commitTransaction", "abortTransaction"}
_NO_TRANSACTIONS: Final = "transactions need a replica set (mongo.url): the embedded document store has none"
_ILLEGAL_OPERATION: Final = 20  # the code of a standalone MongoDB for it
_UNKNOWN_ERROR: Final = 8  # a code of MongoDB, which nx-27017 uses as well

Message = dict[str, Any]
Reply = tuple[int, dict[str, Any]]
_log = logging.getLogger("nx_27017")


class Handler(nx.NeoSQLiteHandler):  # type: ignore[misc]
    """Answers commands. One transaction per command that writes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        GridFSBucket._apply_write_concern = _ignore  # noqa: SLF001  it would end the syncs of the connection

    def handle_insert(self, msg: Message) -> Reply:
        return self._in_one_commit(msg, super().handle_insert)

    def handle_command(self, msg: Message) -> Reply:
        return self._in_one_commit(msg, super().handle_command)

    def _in_one_commit(self, msg: Message, handle: Callable[[Message], Reply]) -> Reply:
        body = _body(msg)
        if not _OF_TRANSACTIONS.isdisjoint(body):
            return msg["request_id"], {"ok": 0, "code": _ILLEGAL_OPERATION, "errmsg": _NO_TRANSACTIONS}
        names = databases_written_by(body)
        if not names:
            return handle(msg)
        reply: Reply = (msg["request_id"], {})
        try:
            with ExitStack() as stack:
                for name in sorted(names):  # always in this order, or two commands could wait for each other
                    stack.enter_context(self._lock_for(name))
                for name in names:
                    connection = self.get_database(name)
                    stack.enter_context(transaction(connection.db))
                reply = handle(msg)
        except NotCommitted as error:
            return msg["request_id"], {"ok": 0, "code": _UNKNOWN_ERROR, "errmsg": _first_error(reply) or str(error)}
        return reply

    def _open_db_conn(self, db_name: str) -> Any:
        connection = super()._open_db_conn(db_name)
        connection.db.execute("PRAGMA synchronous = FULL")
        return connection

    def _apply_write_concern(self, db: Any, db_name: str, write_concern: Any) -> None:
        """Ignore it: every commit is synced."""


def _ignore(*_args: Any) -> None:
    pass


class NotCommitted(Exception):
    """SQLite did not commit a transaction: the disk is full, or fails."""


@contextmanager
def transaction(connection: Any) -> Iterator[None]:
    """A transaction of ``connection``. What was done before an error is committed, too: MongoDB undoes nothing.

    Raises NotCommitted if not all of it is stored.
    """
    if not connection.in_transaction:  # else a command before failed to end its own
        connection.execute("BEGIN")
    try:
        yield
    finally:
        if not connection.in_transaction:
            raise NotCommitted("the write was interrupted, and may be stored in part: the disk may be full")
        try:
            connection.execute("COMMIT")
        except Exception as error:
            with contextlib.suppress(Exception):
                connection.execute("ROLLBACK")
            raise NotCommitted(f"the write was not committed: {error}") from error


def databases_written_by(body: Mapping[str, Any]) -> set[str]:
    """The databases that the command ``body`` writes to, each of which gets a transaction.

    Empty for a delete in GridFS, which nx-27017 commits itself.
    """
    if _WRITES.isdisjoint(body) or str(body.get("delete", "")).endswith((".files", ".chunks")):
        return set()
    names = {str(body.get("$db", "test"))}
    return names | {str(space.get("ns", "")).partition(".")[0] for space in body.get("nsInfo", ())} - {""}


def _body(msg: Message) -> dict[str, Any]:
    """The command in ``msg``. A bulkWrite names its databases in a section of its own, ``nsInfo``."""
    body: dict[str, Any] = {}
    for kind, content in msg["sections"]:
        if kind == "body":
            body = content | body
        elif kind == "payload" and "nsInfo" in content:
            body["nsInfo"] = content["nsInfo"]
    return body


def _first_error(reply: Reply) -> str:
    """The message of the first write that failed."""
    errors = reply[1].get("writeErrors") or [{}]
    return str(errors[0].get("errmsg", ""))


def listen(path: Path) -> socket.socket:
    """A socket at ``path`` that only this user may connect to. Replaces that of a server that was killed."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    umask = os.umask(0o177)
    try:
        listening.bind(str(path))
    finally:
        os.umask(umask)
    return listening


async def serve(handler: Handler, listening: socket.socket) -> None:
    """Serve ``handler`` at ``listening`` until SIGTERM or SIGINT."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="command"))

    async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await handle_client(reader, writer, handler)

    server = await asyncio.start_unix_server(on_client, sock=listening)
    _log.info("Listening on %s", listening.getsockname())
    await stop.wait()
    server.close()


def main() -> None:
    """Serve the folder of the first argument at the socket of the second."""
    folder, path = sys.argv[1:]
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s")
    nx.MAX_WRITE_BATCH_SIZE = BATCH
    handler = Handler(data_dir=folder)
    try:
        uvloop.run(serve(handler, listen(Path(path))))
    finally:
        handler.close_all()

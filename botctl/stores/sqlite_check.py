"""Look for damage in the files of the embedded document store before it opens them.

They hold what exists nowhere else (the audit log, the ledger of migrations, guild settings), and SQLite itself tells
damage only when a damaged page is read. Worse, it takes an empty file for a new database, and ends its write-ahead log
(WAL) at the first frame that is wrong, so that acknowledged writes would be lost without a word. Nothing here changes a
file.

The format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from shlex import quote
from typing import Final

from botctl.core.errors import StoreDamaged

CHECKED_BYTES: Final = 64_000_000  # of one database: a larger one is checked only where it is read
_WAL_HEADER: Final = 32
_FRAME_HEADER: Final = 24
_MAGIC: Final = 0x377F0682  # its last bit: checksums are big-endian
_PAGE_SIZES: Final = tuple(512 << n for n in range(8))
_FIRST_BYTES: Final = 65_536  # a power loss may leave zeros where a first transaction was to be
_PENDING: Final = (
    2  # transactions behind the last frame that can be read: one may be cut by a power loss, before it was acknowledged
)


def check_folder(folder: Path) -> None:
    """Check all databases in ``folder``.

    Raises:
        StoreDamaged: one is damaged. The hint says how to go on.
    """
    for path in sorted(folder.glob("*.db")):
        if (problem := find_damage(path)) is not None:
            raise _damaged(path, problem)


def _damaged(path: Path, problem: str) -> StoreDamaged:
    aside = quote(f"{path.parent}.damaged")
    return StoreDamaged(
        f"{path} is damaged: {problem}.",
        hint=(
            f"Restore it and {path.name}-wal from a backup, or set it aside on purpose "
            f"(mkdir {aside} && mv {quote(str(path))}* {aside}): then what is in it (audit log, ledger "
            "of migrations, guild settings) begins empty. docs/production.md says how to save what can still be read."
        ),
    )


def find_damage(path: Path) -> str | None:
    """What is wrong with the database ``path`` or its WAL, or None. A file that cannot be opened is not damaged."""
    wal = path.with_name(path.name + "-wal")
    try:
        size = path.stat().st_size
        log = wal.read_bytes() if wal.exists() else b""
        if size == 0:
            return "it is empty, but its write-ahead log is not" if log else None
        return _header_damage(log) or _database_damage(path, log)
    except OSError:
        return None  # the store says it better


def _header_damage(log: bytes) -> str | None:
    if len(log) <= _WAL_HEADER + _FRAME_HEADER or (len(log) <= _FIRST_BYTES and not log.strip(b"\0")):
        return None  # nothing was acknowledged
    magic, _, page_size = struct.unpack(">III", log[:12])
    if magic & ~1 == _MAGIC and page_size in _PAGE_SIZES and log[24:32] == _checksum(magic, log[:24]):
        return None
    return "the header of its write-ahead log is wrong"


def _tail_damage(log: bytes, read: int) -> str | None:
    """Whether there are acknowledged transactions behind frame ``read``, the last one that SQLite can read."""
    length = _FRAME_HEADER + struct.unpack(">I", log[8:12])[0]
    starts = range(_WAL_HEADER + read * length, len(log) - length + 1, length)
    of_this_log = [start for start in starts if log[start + 8 : start + 16] == log[16:24]]  # the same salts
    lost = sum(log[start + 4 : start + 8] != bytes(4) for start in of_this_log)  # it ends a transaction
    if lost < _PENDING:
        return None
    return f"its write-ahead log cannot be read from frame {read + 1} on, and {lost} transactions come after that"


def _checksum(magic: int, data: bytes) -> bytes:
    """SQLite's checksum of ``data``, as it is stored."""
    first = second = 0
    words = struct.unpack(f"{'>' if magic & 1 else '<'}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return struct.pack(">II", first, second)


def _database_damage(path: Path, log: bytes) -> str | None:
    """What SQLite itself finds. It opens the file for reading only, so it leaves database and WAL as they are."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if len(log) > _WAL_HEADER and (problem := _tail_damage(log, _frames_read(path))) is not None:
                return problem
            found = None
            if path.stat().st_size <= CHECKED_BYTES:
                found = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError:
            return None  # locked, or not readable for this user
        except sqlite3.DatabaseError as error:
            return str(error)
    return (
        None
        if found is None or found[0] == "ok"
        else " ".join(str(found[0]).removeprefix("*** in database main ***").split())
    )


def _frames_read(path: Path) -> int:
    """The number of frames that SQLite takes from the WAL, while a connection is open (mxFrame of the WAL-index)."""
    with path.with_name(path.name + "-shm").open("rb") as index:
        return int(struct.unpack("=I", index.read(20)[16:])[0])

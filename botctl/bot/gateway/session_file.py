"""The session of one shard in a file, ``.botctl/gateway/shard-<n>``: what a RESUME in another process needs.

It begins with a mark, which is overwritten in place: the number of the last event whose listeners have all begun, and
of the last one of which the first listener may have. Records follow, each with length and checksum: the origin of the
session, READY, and all events that change a guild, with their numbers. They are written before the library gets the
event, and the mark after that. Records beyond the mark do not count, because Discord sends these events again: so after
a kill at any moment the guilds are those of the mark. If the two numbers differ, that one event may be handled twice.

The kernel has what was written, so a kill loses nothing. The mark also says how long the file was, and each record has
a checksum: a file that a power cut has torn is not used.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from backports import zstd

from botctl.bot.gateway.guild_payloads import GuildPayloads, stored_form
from botctl.bot.gateway.resume_rules import SessionOrigin
from botctl.core.files.private import make_private_folder, write_private

ORIGIN: Final = "ORIGIN"
MAX_LATER: Final = 1 << 16
"""Characters of messages that are written together."""
MIN_COMPACTED: Final = 1 << 20
"""Bytes of changes before a file is written again, shorter; at least as many as the rest has."""
_MAGIC: Final = b"botctlg2"
_MARK: Final = struct.Struct("<QQQQ")  # sequence, begun, milliseconds since 1970, bytes of the file
MARK_BYTES: Final = _MARK.size
_RECORD: Final = struct.Struct("<II")  # length, CRC-32
_HEAD_BYTES: Final = 4096  # more than the origin needs
_START: Final = len(_MAGIC) + _MARK.size
_FAULTS: Final = (ValueError, KeyError, TypeError, AttributeError, struct.error, zstd.ZstdError)

Record = tuple[str, Any]


class DamagedFile(ValueError):
    """The file has not what it should have."""


@dataclass(frozen=True, slots=True)
class SessionHead:
    """``sequence``: of the last event that was handled; ``begun``: of one that may have been, else the same.

    ``seen_ms``: when the bot was last connected.
    """

    session: str
    origin: SessionOrigin
    sequence: int
    begun: int
    seen_ms: int


def session_path(folder: Path, shard: int) -> Path:
    """``folder``: the state folder of the project."""
    return folder / "gateway" / f"shard-{shard}"


def encode(event: str, data: Any) -> bytes:
    """A record."""
    return encode_text(json.dumps({"t": event, "d": data}, separators=(",", ":")))


def encode_text(text: str) -> bytes:
    """The record of a message as Discord sends it: to write its data again as JSON would take longer than to parse."""
    packed = _compressor().compress(text.encode(), zstd.ZstdCompressor.FLUSH_FRAME)
    return _RECORD.pack(len(packed), zlib.crc32(packed)) + packed


@cache
def _compressor() -> zstd.ZstdCompressor:
    """One for all records: to make one takes ten times as long as to compress a small guild."""
    return zstd.ZstdCompressor(1)


def encode_all(origin: SessionOrigin, records: Sequence[Record]) -> bytes:
    """The records of a file; the first one is READY."""
    head = {"session": records[0][1]["session_id"], "origin": asdict(origin)}
    return b"".join((encode(ORIGIN, head), *(encode(*record) for record in records)))


def read_head(path: Path) -> SessionHead:
    """Raises OSError, DamagedFile."""
    with path.open("rb") as file:
        return parse_head(file.read(_HEAD_BYTES))


def read_guilds(content: bytes) -> tuple[GuildPayloads, int]:
    """The guilds of a whole file as of its mark, and where its first record beyond that begins.

    Raises DamagedFile without a session, or if records are missing.
    """
    guilds, end, start, whole, me = GuildPayloads(), 0, _START, _START, ""
    try:
        marked, _, _, size = _MARK.unpack_from(content, len(_MAGIC))
        for sequence, event, data, after in _records(content):
            if after != whole:
                start, whole = whole, after  # of this record, which may have several events
            if sequence > marked:
                end = end or start
                continue
            if event == ORIGIN:
                continue
            me = data["user"]["id"] if event == "READY" else me
            guilds.apply(event, stored_form(event, data, me))
    except _FAULTS as error:
        raise DamagedFile(type(error).__name__) from error
    if not guilds.ready.get("session_id") or whole < size:
        raise DamagedFile("no session" if whole >= size else "it is torn")
    return guilds, end or whole


def parse_head(content: bytes) -> SessionHead:
    """The head of a file, from its first bytes. Raises DamagedFile."""
    try:
        if not content.startswith(_MAGIC):
            raise DamagedFile("another kind of file")
        sequence, begun, seen_ms, _ = _MARK.unpack_from(content, len(_MAGIC))
        _, _, head, _ = next(_records(content))
        origin = SessionOrigin(**head["origin"] | {"intents": tuple(head["origin"]["intents"])})
        return SessionHead(str(head["session"]), origin, sequence, begun, seen_ms)
    except (*_FAULTS, StopIteration) as error:
        raise DamagedFile(type(error).__name__) from error


def _records(content: bytes) -> Iterator[tuple[int, str, Any, int]]:
    """The records up to the first one that is not whole: number (0: of no event), event, data, and where it ends."""
    place = _START
    while place + _RECORD.size <= len(content):
        length, checksum = _RECORD.unpack_from(content, place)
        packed = content[place + _RECORD.size : place + _RECORD.size + length]
        if len(packed) < length or zlib.crc32(packed) != checksum:
            return
        place += _RECORD.size + length
        messages = json.loads(zstd.decompress(packed))
        for message in messages if isinstance(messages, list) else [messages]:
            yield message.get("s") or 0, message["t"], message["d"], place


def newest(contents: Sequence[bytes]) -> bytes | None:
    """The newest of files of one shard: of the same session that with the highest number, else what was seen last."""
    best: tuple[SessionHead, bytes] | None = None
    for content in contents:
        with suppress(DamagedFile):
            head = parse_head(content)
            if best is None or _is_newer(head, best[0]):
                best = head, content
    return best[1] if best else next(iter(contents), None)  # a damaged one is named


def _is_newer(head: SessionHead, other: SessionHead) -> bool:
    if head.session == other.session:
        return head.sequence > other.sequence
    return head.seen_ms > other.seen_ms


def compacted(content: bytes) -> tuple[bytes, int]:
    """A shorter file, and how many of the first bytes of ``content`` it stands for."""
    head, (guilds, length) = parse_head(content), read_guilds(content)
    records = encode_all(head.origin, guilds.records())
    return SessionFile.content(head.sequence, head.seen_ms, records, begun=head.begun), length


class SessionFile:
    """A file that is written. Each method raises OSError; then the file is of no more use.

    ``generation``: it counts how often the file was written from its start.
    """

    def __init__(self, path: Path, content: bytes, *, base: int | None = None) -> None:
        """Replace the file at ``path`` in one step. ``base``: how many bytes are no changes; by default, all."""
        self.path = path
        self.generation = 0
        self.sequence = self._begun = self._seen_ms = 0
        self.mark_bytes = b""
        self._later: list[str] = []
        self._later_size = 0
        self._descriptor = -1
        self._begin(content, len(content) if base is None else base)

    @staticmethod
    def content(sequence: int, seen_ms: int, records: bytes, *, begun: int = 0) -> bytes:
        """What a new file has; ``records``: as `encode_all`; the rest as in `SessionHead`."""
        return _MAGIC + _MARK.pack(sequence, max(begun, sequence), seen_ms, _START + len(records)) + records

    @staticmethod
    def with_mark(content: bytes, mark: bytes) -> bytes:
        """``content`` with another mark, of the same file."""
        return _MAGIC + mark + content[_START:]

    def append(self, text: str, *, is_change: bool = True) -> None:
        """Add a message of Discord. ``is_change``: another record has said something of this guild before."""
        self._write_later()
        self._append(encode_text(text), is_change=is_change)

    def append_later(self, text: str) -> None:
        """Add a GUILD_CREATE that no listener hears of, with others and before the next mark: one is not worth it."""
        self._later.append(text)
        self._later_size += len(text)
        if self._later_size > MAX_LATER:
            self._write_later()

    def _write_later(self) -> None:
        if self._later:
            later, self._later, self._later_size = self._later, [], 0
            self._append(encode_text(f"[{','.join(later)}]"), is_change=False)

    def _append(self, record: bytes, *, is_change: bool) -> None:
        if os.write(self._descriptor, record) != len(record):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += len(record)
        self._base += 0 if is_change else len(record)

    def mark_begun(self, sequence: int) -> None:
        """The listeners of ``sequence`` begin now."""
        self._begun = max(sequence, self._begun)
        self._write_mark()

    def mark(self, sequence: int) -> None:
        """Everything up to ``sequence`` was handled."""
        self.sequence = max(sequence, self.sequence)
        self._begun = max(sequence, self._begun)
        self._write_mark()

    def mark_seen(self, seen_ms: int) -> None:
        """The bot is connected at ``seen_ms``."""
        self._seen_ms = seen_ms
        self._write_mark()

    def _write_mark(self) -> None:
        self._write_later()
        self.mark_bytes = self._pack(self.size)
        os.pwrite(self._descriptor, self.mark_bytes, len(_MAGIC))

    def _pack(self, size: int) -> bytes:
        return _MARK.pack(self.sequence, self._begun, self._seen_ms, size)

    @property
    def is_long(self) -> bool:
        """Whether it should be compacted."""
        return self.size - self._base > max(MIN_COMPACTED, self._base)

    def read(self, start: int, end: int) -> bytes:
        """The bytes from ``start`` to ``end``."""
        return os.pread(self._descriptor, end - start, start)

    def replace_start(self, compacted: bytes, length: int) -> None:
        """Put ``compacted``, a whole file, in the place of the first ``length`` bytes; keep what came since."""
        tail, old = self.read(length, self.size), self._descriptor
        mark = self._pack(len(compacted) + len(tail))
        self._begin(self.with_mark(compacted, mark) + tail, len(compacted))
        os.close(old)

    def close(self) -> None:
        os.close(self._descriptor)

    def _begin(self, content: bytes, base: int) -> None:
        make_private_folder(self.path.parent)
        new = self.path.with_suffix(".new")
        write_private(new, content)
        descriptor = os.open(new, os.O_RDWR | os.O_CLOEXEC)
        os.lseek(descriptor, 0, os.SEEK_END)
        new.replace(self.path)
        self._descriptor, self._base, self.size = descriptor, base, len(content)
        self.mark_bytes = content[len(_MAGIC) : _START]
        self.sequence, self._begun, self._seen_ms, _ = _MARK.unpack(self.mark_bytes)
        self.generation += 1

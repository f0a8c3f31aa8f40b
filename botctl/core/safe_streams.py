"""The standard streams without secrets: whatever writes to them (print, Rich, Typer, a traceback, a library).

Output never decides work. What the encoding of a stream lacks is escaped. What cannot be written (the reader has ended,
the disk is full) is dropped, and the command goes on; `output_required` is for commands that only print.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TextIO, cast

from botctl.core.redact import redact_values, unfinished

_ESCAPE: Final = "botctl.escape"


def _escape_unencodable(error: UnicodeError) -> tuple[str, int]:
    r"""The error handler of codecs for `_ESCAPE`: ``\u2713``, as in JSON, so that JSON stays JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end


codecs.register_error(_ESCAPE, _escape_unencodable)


class SafeStream:
    """A text stream that removes registered secrets, then passes on to ``stream``.

    The end of a text that may be the beginning of a secret is held back until the next write, or until `finish`: a
    secret may come in two writes, or on two lines. `flush` writes the lines that are whole. ``lost`` is the first error
    of the stream: from then on nothing is written. While ``required``, it is raised.
    """

    def __init__(self, stream: TextIO) -> None:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPE)
        self._stream = stream
        self._held = ""
        self._lock = threading.RLock()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.lost: OSError | None = None
        self.required = False

    @property
    def buffer(self) -> SafeBuffer:
        """As ``sys.stdout.buffer``: what is written there must be text in UTF-8."""
        return SafeBuffer(self)

    def write(self, text: str) -> int:
        if not isinstance(text, str):  # as a text stream does: Click asks for it
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self._lock:
            ready, self._held = _cut(self._held + text)
            self._put(ready)
        return len(text)

    def write_bytes(self, data: bytes) -> None:
        """Write text in UTF-8, of which a character may come in several pieces."""
        with self._lock:
            self.write(self._decoder.decode(data))

    def write_redacted(self, lines: str) -> None:
        """Write whole ``lines`` that hold no secret, and flush. They pass the beginning of a line that is held back."""
        with self._lock:
            self._release_lines()
            self._put(lines)
            self._try(self._stream.flush)

    def flush(self) -> None:
        with self._lock:
            self._release_lines()
            self._try(self._stream.flush)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def finish(self) -> None:
        """Write what is held back."""
        with self._lock:
            held, self._held = self._held + self._decoder.decode(b"", final=True), ""
            if held:
                self._put(redact_values(held))
            self._try(self._stream.flush)

    def reveal(self, line: str) -> None:
        """Write ``line`` as it is, after all that was written before."""
        with self._lock:
            self.finish()
            self._put(f"{line}\n")
            self._try(self._stream.flush)

    def _release_lines(self) -> None:
        """Write the line that is held back, if its line break is no part of a secret: a person may wait for it."""
        if self._held.endswith("\n"):
            ready, self._held = _cut(self._held, across_lines=False)
            self._put(ready)

    def _put(self, text: str) -> None:
        self._try(lambda: self._stream.write(text))

    def _try(self, write: Callable[[], object]) -> None:
        if self.lost is None:
            try:
                write()
            except OSError as error:
                self._lose(error)
            except ValueError as error:
                if not self._stream.closed:
                    raise
                self._lose(OSError(str(error)))
        if self.lost is not None and self.required:
            raise self.lost

    def _lose(self, error: OSError) -> None:
        """Send what the stream has buffered to /dev/null: Python would try to write it once more at its exit."""
        self.lost = error
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _cut(text: str, *, across_lines: bool = True) -> tuple[str, str]:
    """What may be written of ``text``, without secrets, and the rest, which may be the beginning of one."""
    clean = redact_values(text)
    end = len(text) - unfinished(text, across_lines=across_lines)
    if end == len(text):
        return clean, ""
    ready, rest = redact_values(text[:end]), text[end:]
    if ready + redact_values(rest) == clean:
        return ready, rest
    end = len(clean) - unfinished(clean, across_lines=across_lines)  # the cut would be inside a secret that is whole
    return clean[:end], clean[end:]


class SafeBuffer(io.RawIOBase):
    """The bytes of a `SafeStream`."""

    def __init__(self, stream: SafeStream) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._stream.fileno())

    def isatty(self) -> bool:
        return bool(self._stream.isatty())

    def write(self, data: Any) -> int:
        raw = bytes(data)
        self._stream.write_bytes(raw)
        return len(raw)

    def flush(self) -> None:
        self._stream.flush()


@contextmanager
def safe_streams() -> Iterator[None]:
    """Replace ``sys.stdout`` and ``sys.stderr`` by safe ones for the block."""
    before = sys.stdout, sys.stderr
    streams = SafeStream(sys.stdout), SafeStream(sys.stderr)
    sys.stdout, sys.stderr = cast(TextIO, streams[0]), cast(TextIO, streams[1])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in streams:
            stream.required = False
            stream.finish()


@contextmanager
def output_required() -> Iterator[None]:
    """Within the block, stdout that cannot be written raises OSError: there is nothing to do but to print."""
    stream = sys.stdout
    if isinstance(stream, SafeStream):
        stream.required = True
    try:
        yield
    finally:
        if isinstance(stream, SafeStream):
            stream.required = False


def finish_output() -> None:
    """Write what stdout and stderr hold back."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, SafeStream):
            with suppress(OSError):
                stream.finish()


def lost_output() -> OSError | None:
    """Write what stdout holds back; returns its error if something could not be written."""
    stream = sys.stdout
    if not isinstance(stream, SafeStream):
        return None
    stream.finish()
    return stream.lost


def open_standard_descriptors() -> None:
    """Open /dev/null for each of the descriptors 0, 1 and 2 that is closed, else a file or socket would get its number.

    Call it before anything else is opened. Python has None for the stream of a closed descriptor: it gets one.
    """
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest free number: those below are open
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
            os.set_inheritable(descriptor, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def reveal(line: str) -> None:
    """Print ``line`` with the secrets in it, because a person asked for them: the token of a new sandbox."""
    if isinstance(sys.stdout, SafeStream):
        sys.stdout.reveal(line)
    else:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

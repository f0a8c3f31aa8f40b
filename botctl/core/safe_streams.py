"""The standard streams without secrets: whatever writes to them (print, Rich, Typer, a traceback, a library)."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from botctl.core.redact import redact_values, unfinished


class SafeStream:
    """A text stream that removes registered secrets, then passes on to ``stream``.

    The end of a text that may be the beginning of a secret is held back until the next write, or until `finish`: a
    secret may come in two writes, or on two lines.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._held = ""
        self._lock = threading.RLock()

    @property
    def buffer(self) -> SafeBuffer:
        """As ``sys.stdout.buffer``: what is written there must be text in UTF-8."""
        return SafeBuffer(self)

    def write(self, text: str) -> int:
        if not isinstance(text, str):  # as a text stream does: Click asks for it
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self._lock:
            ready, self._held = _cut(self._held + text)
            self._stream.write(ready)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def finish(self) -> None:
        """Write what is held back."""
        held, self._held = self._held, ""
        if held:
            self._stream.write(redact_values(held))
        self._stream.flush()

    def reveal(self, line: str) -> None:
        """Write ``line`` as it is."""
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _cut(text: str) -> tuple[str, str]:
    """What may be written of ``text``, without secrets, and the rest, which may be the beginning of one."""
    clean = redact_values(text)
    end = len(text) - unfinished(text)
    ready, rest = redact_values(text[:end]), text[end:]
    if ready + redact_values(rest) == clean:
        return ready, rest
    end = len(clean) - unfinished(clean)  # the cut would be inside a secret that is whole
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
        self._stream.write(bytes(data).decode("utf-8", "replace"))
        return len(data)

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
            with suppress(OSError, ValueError):  # closed, or its reader has ended
                stream.finish()


def reveal(line: str) -> None:
    """Print ``line`` with the secrets in it, because a person asked for them: the token of a new sandbox."""
    if isinstance(sys.stdout, SafeStream):
        sys.stdout.reveal(line)
    else:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

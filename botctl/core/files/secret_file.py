"""Read a file that holds one secret: a line of text that other users of the machine cannot read or replace."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from botctl.core.files.trust import Caller

MAX_BYTES: Final = 16_384


class SecretFileError(ValueError):
    """A secret file that cannot be used. The message is the end of a sentence about it, without its content."""


@dataclass(frozen=True, slots=True)
class SecretFile:
    """The ``text`` of a secret file. ``is_exposed``: other users can read it."""

    text: str
    is_exposed: bool


def read_secret(path: Path, caller: Caller | None) -> SecretFile:
    """The secret in the file at ``path``: its only line, without the line break.

    ``caller``: whose file it must be; None if the system has made it, with a mode of its own. Raises FileNotFoundError,
    and SecretFileError for everything else.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a named pipe would wait for a writer
        try:
            info = os.fstat(descriptor)
            _require_regular(info)
            if caller is not None:
                _require_own(path, info, caller)
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(MAX_BYTES + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SecretFileError(f"cannot be read: {error.strerror}") from error
    return SecretFile(parse_secret(data), caller is not None and caller.is_exposed(info))


def parse_secret(data: bytes) -> str:
    """The only line of ``data``, without the line breaks after it. Raises SecretFileError."""
    if len(data) > MAX_BYTES:
        raise SecretFileError(f"has more than {MAX_BYTES} bytes, so it is not a secret")
    try:
        text = data.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise SecretFileError("is not UTF-8 text") from None
    if not text.strip():
        raise SecretFileError("is empty")
    if "\n" in text or "\r" in text:
        raise SecretFileError("has more than one line; a secret is one")
    if not text.isprintable():
        raise SecretFileError("has characters that are not printable")
    return text


def _require_regular(info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise SecretFileError("is a folder" if stat.S_ISDIR(info.st_mode) else "is not a regular file")


def _require_own(path: Path, info: os.stat_result, caller: Caller) -> None:
    """Raise SecretFileError if another user could have written the file, or could replace it."""
    if fault := caller.fault(info):
        raise SecretFileError(f"{fault}; use `chown` and `chmod 600`")
    for folder in dict.fromkeys((*path.absolute().parents, *path.resolve().parents)):
        if fault := caller.fault_above(folder.stat()):
            raise SecretFileError(f"is in {folder}, which {fault}")

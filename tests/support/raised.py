"""What an operator's code may raise that is no Exception."""

from __future__ import annotations

from typing import Final


class PanicException(BaseException):
    """As pyo3, the bridge of extensions in Rust, raises it for a panic."""


NO_EXCEPTIONS: Final = (
    BaseException("x"),
    GeneratorExit(),
    BaseExceptionGroup("two", [BaseException("x"), ValueError("y")]),
    PanicException("index out of bounds"),
    SystemExit(3),
    KeyboardInterrupt(),
)

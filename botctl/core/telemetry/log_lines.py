"""Format one log line as JSON and as text.

``logs/botctl.jsonl`` has one JSON object per line::

    {"at": "2026-01-02T03:04:05.678Z", "level": "INFO", "logger": "botctl.bot.interactions.pipeline", "message": "…",
     "command": "roll", "guild": "…", "user": "…", "interaction": "…", "error_id": "…", "service": "…",
     "error": {"type": "ValueError", "message": "…", "trace": "…"}}

Empty fields and an absent ``error`` are left out; a field that is not a number, boolean or null is text. The whole line
is redacted. The text for people is one line, with the traceback below it.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, NamedTuple, cast

from botctl.core.errors import ANYTHING
from botctl.core.escape import ELLIPSIS, escape_json, escape_unprintable
from botctl.core.redact import redact, redact_values

MESSAGE_LIMIT: Final = 4_000  # characters
FIELDS: Final = ("command", "guild", "user", "interaction", "error_id", "service")
TRACE_LIMIT: Final = 20_000  # characters, from its end

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_COLOURS: Final = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[1;31m"}
_DIM: Final = "\x1b[2m"
_RESET: Final = "\x1b[0m"

_JSON_SCALARS: Final = frozenset({bool, int})
Scalar = str | int | float | bool | None


class LoggedError(NamedTuple):
    """An exception: the name of its type, its text, and its traceback."""

    type: str
    message: str
    trace: str


class LogLine(NamedTuple):
    """A redacted line. ``at`` is ISO 8601 in UTC, with milliseconds."""

    at: str
    level: str
    logger: str
    message: str
    fields: Mapping[str, Scalar]
    error: LoggedError | None = None


def make_line(
    at: datetime,
    level: str,
    logger: str,
    message: str,
    *,
    fields: Mapping[str, object] = MappingProxyType({}),
    error: tuple[BaseException, str] | None = None,
) -> LogLine:
    """Redact and cut a log record. ``error`` is an exception with its formatted traceback."""
    return LogLine(
        iso(at),
        level,
        redact_values(logger),
        _truncate(redact(message)),
        {name: _to_scalar(value) for name, value in fields.items() if value is not None},
        _to_logged_error(*error) if error else None,
    )


def iso(at: datetime) -> str:
    """As `clock.iso_ms`, but several times faster, because it caches the text of a second."""
    return f"{_format_second(int(at.timestamp()))}.{at.microsecond // 1000:03}Z"


def as_json(line: LogLine) -> bytes:
    """``line`` as one JSON object and a newline. A field with a reserved name gets a ``_`` appended."""
    data: dict[str, object] = {"at": line.at, "level": line.level, "logger": line.logger, "message": line.message}
    for name, value in line.fields.items():
        data[f"{name}_" if name in data or name == "error" else name] = value
    if line.error is not None:
        data["error"] = {"type": line.error.type, "message": line.error.message, "trace": line.error.trace}
    return (escape_json(_encode(data)) + "\n").encode()


def as_text(line: LogLine, *, colour: bool = False, date: bool = True) -> str:
    """``line`` as escaped text for people, with a newline."""
    dim, reset = (_DIM, _RESET) if colour else ("", "")
    level = _COLOURS.get(line.level, "") if colour else ""
    at = line.at if date else line.at[11:]
    logger = escape_unprintable(line.logger)
    fields = "".join(f" {name}={_quote_spaces(value)}" for name, value in line.fields.items())
    text = (
        f"{dim}{at}{reset} {level}{line.level:<7}{reset if level else ''} {dim}{logger}{reset} "
        f"{_indented(line.message)}{dim if fields else ''}{fields}{reset if fields else ''}\n"
    )
    if line.error is None:
        return text
    return text + "".join(f"  {escape_unprintable(row)}\n" for row in line.error.trace.rstrip("\n").split("\n"))


@functools.lru_cache(maxsize=4)
def _format_second(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _to_scalar(value: object) -> Scalar:
    if type(value) in _JSON_SCALARS or (type(value) is float and math.isfinite(value)):
        return cast("Scalar", value)
    try:
        return _truncate(redact(str(value)))
    except ANYTHING as error:  # a failing __str__ must not lose the line
        return f"<{type(value).__name__}: {type(error).__name__} in __str__>"


def _to_logged_error(error: BaseException, trace: str) -> LoggedError:
    if len(trace := redact(trace)) > TRACE_LIMIT:
        trace = ELLIPSIS + trace[1 - TRACE_LIMIT :]
    return LoggedError(type(error).__name__, str(_to_scalar(error)), trace)


def _truncate(text: str) -> str:
    return text if len(text) <= MESSAGE_LIMIT else text[: MESSAGE_LIMIT - 1] + ELLIPSIS


def _indented(text: str) -> str:
    """``text`` escaped; its further lines begin with ``  | ``."""
    if text.isprintable():
        return text
    return "\n  | ".join(_visible_rows(text.rstrip("\n")))


def _visible_rows(text: str) -> Iterator[str]:
    return map(escape_unprintable, text.split("\n"))


def _quote_spaces(value: Scalar) -> str:
    """``value`` escaped, and in quotes if it is empty or has spaces."""
    text = escape_unprintable(str(value))
    return text if text and " " not in text else f'"{text}"'

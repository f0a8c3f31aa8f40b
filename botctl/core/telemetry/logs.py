"""Set up logging: readable lines on stderr and JSON lines in ``logs/botctl.jsonl``.

botctl and its libraries use `logging`. Its records, warnings, and exceptions of threads all go to loguru, which writes
them. No other module of botctl uses loguru; the operator's code may, with ``logger.contextualize(command=…)``.
`log_lines` redacts each line and traceback. loguru's ``diagnose``, which prints values of variables, is off.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from loguru import logger

from botctl.core.errors import ANYTHING
from botctl.core.safe_streams import SafeStream
from botctl.core.telemetry.log_file import LogFile
from botctl.core.telemetry.log_lines import FIELDS, LogLine, as_json, as_text, make_line

if TYPE_CHECKING:
    from loguru import Message, Record

    from botctl.core.config.settings import LogLevel, Settings  # pydantic would double the start of the sandbox

FILE_NAME: Final = "botctl.jsonl"

# At DEBUG these log URLs and bodies with tokens, or whole documents, so their level is at least INFO.
_NOISY: Final = ("disnake", "aiohttp", "asyncio", "apscheduler", "pymongo", "redis", "websockets")
FILE_ONLY: Final = "botctl.told"  # the logger of lines for the file only: the terminal shows the same in another form
_STANDARD_LEVELS: Final = frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})


@contextmanager
def start_logs(
    settings: Settings,
    root: Path,
    *,
    stderr_level: LogLevel | None = None,
    json_stderr: bool = False,
    stream: TextIO | None = None,
) -> Iterator[None]:
    """Install the log sinks for the block, and restore logging afterwards.

    ``stderr_level`` is the level of stderr (default: ``logs.level``, which is also that of the file). ``json_stderr``
    writes JSON lines there. ``stream`` replaces stderr. A log folder that cannot be written causes a line on stderr,
    not an error.
    """
    console_level = _level_number(stderr_level or settings.logs.level)
    file_level = _level_number(settings.logs.level)
    console = _Console(stream, as_json_lines=json_stderr)
    file = LogFile(
        root / settings.logs.folder / FILE_NAME,
        settings.logs.rotate_bytes,
        settings.logs.keep,
        warn=console.warn,
    )
    with ExitStack() as stack:
        stack.callback(file.close)
        stack.enter_context(_installed(_Sink(console, console_level, file, file_level), min(console_level, file_level)))
        stack.enter_context(_capture_logging(max(min(console_level, file_level), logging.DEBUG)))
        yield


@contextmanager
def stderr_logs() -> Iterator[None]:
    """Log to stderr only, from INFO on: for a process without settings."""
    sink = _Sink(_Console(None, as_json_lines=False), logging.INFO)
    with _installed(sink, logging.INFO), _capture_logging(logging.INFO):
        yield


class _Console:
    """Writes lines to stderr: in colour on a terminal, unless NO_COLOR is set; with the date elsewhere."""

    def __init__(self, stream: TextIO | None, *, as_json_lines: bool) -> None:
        terminal = (stream or sys.stderr).isatty()
        self._stream = stream
        self._json = as_json_lines
        self._colour = terminal and not os.environ.get("NO_COLOR")
        self._date = not terminal

    def write(self, line: LogLine) -> None:
        text = as_json(line).decode() if self._json else as_text(line, colour=self._colour, date=self._date)
        try:
            stream = self._stream or sys.stderr  # read each time: a live display replaces it
            if isinstance(stream, SafeStream):
                stream.write_redacted(text)
            else:
                stream.write(text)
                stream.flush()
        except (OSError, ValueError):  # closed; the file has all lines
            return

    def warn(self, sentence: str) -> None:
        """Report a problem of the logs themselves."""
        self.write(make_line(datetime.now(UTC), "WARNING", __name__, sentence))


class _Sink:
    """The sink of loguru: makes each line once, for stderr and for the file."""

    def __init__(self, console: _Console, console_level: int, file: LogFile | None = None, file_level: int = 0) -> None:
        self._console = console
        self._console_level = console_level
        self._file = file
        self._file_level = file_level

    def __call__(self, message: Message) -> None:
        record = message.record
        level, raised = record["level"], record["exception"]
        line = make_line(
            record["time"],
            level.name,
            record["name"] or "?",
            record["message"],
            fields=record["extra"],
            error=(raised.value, str(message)) if raised is not None and raised.value is not None else None,
        )
        if self._file is not None and level.no >= self._file_level:
            self._file.write(as_json(line))
        if (
            level.no >= self._console_level
            and line.logger != FILE_ONLY
            and not self._is_library_noise(line.logger, level.no)
        ):
            self._console.write(line)

    def _is_library_noise(self, name: str, level: int) -> bool:
        """Whether a library logged it below WARNING: then stderr shows it only at DEBUG."""
        return level < logging.WARNING and self._console_level > logging.DEBUG and name.partition(".")[0] in _NOISY


def _only_exception(_record: Record) -> str:
    """The format for loguru: it writes only the traceback, `log_lines` the rest."""
    return "{exception}"


@contextmanager
def _installed(sink: _Sink, level: int) -> Iterator[None]:
    """Make ``sink`` the only output of loguru, from ``level`` on, for the block."""
    logger.remove()  # loguru has a default sink, which does not redact
    handler = logger.add(sink, level=level, format=_only_exception, backtrace=False, diagnose=False)
    try:
        yield
    finally:
        logger.remove(handler)


class _LoguruHandler(logging.Handler):
    """Passes a record of `logging` to loguru, with its logger, its level, and those `FIELDS` that ``extra`` has."""

    def emit(self, record: logging.LogRecord) -> None:
        raised = record.exc_info if record.exc_info and record.exc_info[1] else None
        level = record.levelname if record.levelname in _STANDARD_LEVELS else record.levelno
        attributes = vars(record)
        bound = logger.bind(**{field: attributes[field] for field in FIELDS if field in attributes})
        bound = bound.patch(lambda line: line.update({"name": record.name}))
        bound.opt(exception=raised).log(level, _message(record))


def _message(record: logging.LogRecord) -> str:
    """The text of the record. For wrong arguments, `logging` itself would print them, with secrets, to stderr."""
    try:
        text = record.getMessage()
    except ANYTHING:  # wrong arguments may raise anything
        text = f"{record.msg!s} (its arguments do not fit)"
    return f"{text}\n{record.stack_info}" if record.stack_info else text


@contextmanager
def _capture_logging(level: int) -> Iterator[None]:
    """Redirect `logging`, warnings, and uncaught exceptions of threads and finalizers to loguru."""
    root_logger = logging.getLogger()
    saved = (root_logger.handlers[:], root_logger.level, {name: logging.getLogger(name).level for name in _NOISY})
    hooks = (threading.excepthook, sys.unraisablehook)
    root_logger.handlers[:] = [_LoguruHandler()]
    root_logger.setLevel(level)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(level, logging.INFO))
    logging.captureWarnings(True)
    threading.excepthook, sys.unraisablehook = _log_thread_exception, _log_unraisable
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = hooks
        logging.captureWarnings(False)
        root_logger.handlers[:] = saved[0]
        root_logger.setLevel(saved[1])
        for name, before in saved[2].items():
            logging.getLogger(name).setLevel(before)


def _log_thread_exception(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit:
        name = args.thread.name if args.thread else "?"
        logger.opt(exception=args.exc_value).error("Thread {} ended with an exception", name)


def _log_unraisable(args: sys.UnraisableHookArgs) -> None:
    logger.opt(exception=args.exc_value).error("{} in {!r}", args.err_msg or "Exception ignored", args.object)


def _level_number(level: LogLevel) -> int:
    return logging.getLevelNamesMapping()[level]

"""Logs: loguru in front, a readable line on stderr and a JSON line in ``logs/botctl.jsonl`` behind.

botctl logs with `logging`, as its libraries do, and all of that comes here, like what is warned of, or raised in a
thread. loguru is the way out, and no other module of botctl knows it; an author's code may use it, and its
``logger.contextualize(command=…)``. No secret reaches a sink: `log_lines` takes them out of each line, tracebacks
included, and loguru's own ``diagnose``, which prints values of variables, is off.
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

from botctl.core.telemetry.log_file import LogFile
from botctl.core.telemetry.log_lines import FIELDS, LogLine, as_json, as_text, make_line

if TYPE_CHECKING:
    from loguru import Message, Record

    from botctl.core.config.settings import LogLevel, Settings  # pydantic would double the start of the sandbox

FILE_NAME: Final = "botctl.jsonl"

# These write URLs and bodies with tokens, or whole documents, at DEBUG: below INFO they are not asked.
_NOISY: Final = ("disnake", "aiohttp", "asyncio", "apscheduler", "pymongo", "redis", "websockets")
FILE_ONLY: Final = "botctl.told"  # the logger of what a person is told anyway: its lines stand in the file alone
_STANDARD: Final = frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})


@contextmanager
def start_logs(
    settings: Settings,
    root: Path,
    *,
    stderr_level: LogLevel | None = None,
    json_stderr: bool = False,
    stream: TextIO | None = None,
) -> Iterator[None]:
    """Let everything that is logged inside reach its sinks; afterwards all is as it was.

    ``stderr_level`` is the least that is shown (default: ``logs.level``, which also is the least in the file);
    ``json_stderr`` writes JSON lines there too; ``stream`` stands in for stderr. Nothing here raises for a folder that
    cannot be written: a sentence on stderr says so, and the bot goes on.
    """
    shown = _number(stderr_level or settings.logs.level)
    kept = _number(settings.logs.level)
    console = _Console(stream, as_json_lines=json_stderr)
    file = LogFile(
        root / settings.logs.folder / FILE_NAME,
        settings.logs.rotate_bytes,
        settings.logs.keep,
        complain=console.complain,
    )
    with ExitStack() as stack:
        stack.callback(file.close)
        stack.enter_context(_installed(_Sink(console, shown, file, kept), min(shown, kept)))
        stack.enter_context(_capture_logging(max(min(shown, kept), logging.DEBUG)))
        yield


@contextmanager
def stderr_logs() -> Iterator[None]:
    """Let what is logged inside, from INFO on, reach stderr alone: for a process without settings."""
    sink = _Sink(_Console(None, as_json_lines=False), logging.INFO)
    with _installed(sink, logging.INFO), _capture_logging(logging.INFO):
        yield


class _Console:
    """stderr: in colour on a terminal, unless NO_COLOR is set; with the date elsewhere, for those who keep it."""

    def __init__(self, stream: TextIO | None, *, as_json_lines: bool) -> None:
        terminal = (stream or sys.stderr).isatty()
        self._stream = stream
        self._json = as_json_lines
        self._colour = terminal and not os.environ.get("NO_COLOR")
        self._date = not terminal

    def write(self, line: LogLine) -> None:
        text = as_json(line).decode() if self._json else as_text(line, colour=self._colour, date=self._date)
        try:
            stream = self._stream or sys.stderr  # asked each time: a live display stands in for it while it draws
            stream.write(text)
            stream.flush()
        except (OSError, ValueError):  # closed, or nobody reads it any more: the file has it all
            return

    def complain(self, sentence: str) -> None:
        """Say what is wrong with the logs themselves, and cannot be logged."""
        self.write(make_line(datetime.now(UTC), "WARNING", __name__, sentence))


class _Sink:
    """What loguru calls, once for each line: both sinks share the line's making."""

    def __init__(self, console: _Console, shown: int, file: LogFile | None = None, kept: int = 0) -> None:
        self._console = console
        self._shown = shown
        self._file = file
        self._kept = kept

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
        if self._file is not None and level.no >= self._kept:
            self._file.write(as_json(line))
        if level.no >= self._shown and line.logger != FILE_ONLY and not self._is_chatter(line.logger, level.no):
            self._console.write(line)

    def _is_chatter(self, name: str, level: int) -> bool:
        """What a library tells of its ordinary life stands in the file; a person sees it who asks for DEBUG."""
        return level < logging.WARNING and self._shown > logging.DEBUG and name.partition(".")[0] in _NOISY


def _only_exception(_record: Record) -> str:
    """The format: loguru does the traceback, `log_lines` the rest."""
    return "{exception}"


@contextmanager
def _installed(sink: _Sink, level: int) -> Iterator[None]:
    logger.remove()  # loguru begins with a sink of its own, which redacts nothing
    handler = logger.add(sink, level=level, format=_only_exception, backtrace=False, diagnose=False)
    try:
        yield
    finally:
        logger.remove(handler)


class _ToLoguru(logging.Handler):
    """A record of `logging` as a line, with its logger's name, its level, and what ``extra`` says of `FIELDS`."""

    def emit(self, record: logging.LogRecord) -> None:
        raised = record.exc_info if record.exc_info and record.exc_info[1] else None
        level = record.levelname if record.levelname in _STANDARD else record.levelno
        given = vars(record)
        named = logger.bind(**{field: given[field] for field in FIELDS if field in given})
        named = named.patch(lambda line: line.update({"name": record.name}))
        named.opt(exception=raised).log(level, _message(record))


def _message(record: logging.LogRecord) -> str:
    """The record's text; `logging` itself would print wrong arguments to stderr, secrets and all."""
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 - whatever the arguments do
        text = f"{record.msg!s} (its arguments do not fit)"
    return f"{text}\n{record.stack_info}" if record.stack_info else text


@contextmanager
def _capture_logging(level: int) -> Iterator[None]:
    """Take over `logging`, warnings, and exceptions that nobody would hear of."""
    top = logging.getLogger()
    saved = (top.handlers[:], top.level, {name: logging.getLogger(name).level for name in _NOISY})
    hooks = (threading.excepthook, sys.unraisablehook)
    top.handlers[:] = [_ToLoguru()]
    top.setLevel(level)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(level, logging.INFO))
    logging.captureWarnings(True)
    threading.excepthook, sys.unraisablehook = _thread_died, _unraisable
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = hooks
        logging.captureWarnings(False)
        top.handlers[:] = saved[0]
        top.setLevel(saved[1])
        for name, before in saved[2].items():
            logging.getLogger(name).setLevel(before)


def _thread_died(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit:
        name = args.thread.name if args.thread else "?"
        logger.opt(exception=args.exc_value).error("Thread {} ended with an exception", name)


def _unraisable(args: sys.UnraisableHookArgs) -> None:
    logger.opt(exception=args.exc_value).error("{} in {!r}", args.err_msg or "Exception ignored", args.object)


def _number(level: LogLevel) -> int:
    return logging.getLevelNamesMapping()[level]

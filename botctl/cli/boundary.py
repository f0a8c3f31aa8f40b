"""The one place where an error becomes a message and an exit code.

An expected error (`BotctlError`) prints a sentence and a hint on stderr. An unexpected one is a bug: with ``--debug``
its traceback is printed, else it goes into a crash file, without secrets. Typer explains wrong arguments. With
``--json`` each error is one JSON object, and nothing else is on stderr.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol, runtime_checkable

import typer

from botctl.cli.json_output import print_json
from botctl.core.errors import BotctlError, ConfigError, ExitCode
from botctl.core.files.paths import working_folder
from botctl.core.processes.stop_signals import EXIT_CODES, discard_lost_output, stop_signals
from botctl.core.redact import redact
from botctl.core.safe_streams import lost_output
from botctl.core.secret_parts import SECRET_NAME

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_STORE_ADDRESSES = ("--redis-url", "--mongo-url")  # no other program's option: what settings are called


@runtime_checkable
class ClickUsageError(Protocol):
    """Click's UsageError, by its attributes: Typer does not export the class."""

    exit_code: int
    ctx: Any  # typer.Context; None before a command is found

    def format_message(self) -> str: ...

    def show(self) -> None: ...


def run_guarded(call: Callable[[], object], *, debug: bool = False, as_json: bool = False) -> int:
    """Run ``call``, report its error if it raises one, and return the exit code. ``call`` may return one itself."""
    if as_json:
        _silence_logging()
    with _stopped_as_by_ctrl_c() as received:
        try:
            result = call()
            exit_code = result if isinstance(result, int) else ExitCode.OK
        except BaseException as error:  # noqa: BLE001  this is the boundary
            exit_code = _report_error(error, debug=debug, as_json=as_json)
    return EXIT_CODES[received[0]] if received and exit_code == ExitCode.INTERRUPTED else exit_code


@contextmanager
def _stopped_as_by_ctrl_c() -> Iterator[list[signal.Signals]]:
    """Let SIGTERM and SIGHUP do what Ctrl-C does, which cleans up. Yields those that were received.

    A command with more to do at its end (`botctl run`) replaces these handlers. In a thread (a program that calls the
    command line) Python handles no signals.
    """
    received: list[signal.Signals] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        received.append(signal.Signals(number))
        if number == signal.SIGHUP:
            discard_lost_output()
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background of a script
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    previous = {number: signal.signal(number, handle) for number in stop_signals() if number is not signal.SIGINT}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def report_lost_output(exit_code: int, *, as_json: bool) -> int:
    """Say that stdout could not be written; returns the exit code. A reader that has ended (`| head`) wants no more."""
    error = lost_output()
    if error is None or error.errno == errno.EPIPE or exit_code != ExitCode.OK:
        return exit_code
    reason = error.strerror or str(error)
    hint = "The command itself has done its work."
    _print_error(
        f"the output cannot be written: {reason}.", hint, ExitCode.FAILED, type(error).__name__, as_json=as_json
    )
    return ExitCode.FAILED


def _report_error(error: BaseException, *, debug: bool, as_json: bool) -> int:
    """Print ``error``; returns its exit code."""
    exit_code: int = ExitCode.FAILED
    match error:
        case BotctlError():
            exit_code = error.exit_code
            _print_error(str(error), error.hint, exit_code, type(error).__name__, as_json=as_json)
            if debug:
                traceback.print_exception(error)
        case ClickUsageError():
            exit_code = error.exit_code
            _print_usage_error(error, as_json=as_json)
        case SystemExit():
            exit_code = error.code if isinstance(error.code, int) else ExitCode.OK
        case KeyboardInterrupt():
            exit_code = ExitCode.INTERRUPTED
        case typer.Abort():  # Ctrl-D at a question
            exit_code = ExitCode.DECISION
            hint = "Type the command again, and answer the question."
            _print_error(
                "nothing was done: the question got no answer.", hint, exit_code, "NeedsDecision", as_json=as_json
            )
        case BrokenPipeError() if lost_output() is error:  # a command that only prints; its reader has ended (`| head`)
            pass
        case _:  # a bug, or what the operator's code has raised: a bare BaseException, a panic of an extension
            exit_code = _print_unexpected_error(error, debug=debug, as_json=as_json)
    return exit_code


def _silence_logging() -> None:
    """Without a handler, Python would print warnings of libraries to stderr, beside the JSON."""
    logging.getLogger().addHandler(logging.NullHandler())


def _print_usage_error(error: ClickUsageError, *, as_json: bool) -> None:
    hint = _secret_option_hint(str(getattr(error, "option_name", "")))
    if not as_json:
        error.show()
        if hint:
            print(f"  → {hint}", file=sys.stderr)
        return
    hint = hint or f"`{error.ctx.command_path if error.ctx else 'botctl'} --help` lists its arguments and options."
    _print_error(error.format_message(), hint, error.exit_code, "UsageError", as_json=True)


def _secret_option_hint(option: str) -> str:
    """What to do instead of an option like ``--discord-token``, which does not exist. Empty for other names."""
    if not SECRET_NAME.search(option.replace("-", "_")) and option not in _STORE_ADDRESSES:
        return ""
    return (
        "No secret is given on the command line, where other users of this machine can read it. docs/secrets.md says "
        "where to put it. If that was the secret, replace it: the shell has kept the line."
    )


def _print_error(message: str, hint: str, exit_code: int, error_type: str, *, as_json: bool) -> None:
    message, hint = redact(message), redact(hint)
    if as_json:
        document = {"error": message, "hint": hint, "type": error_type, "exit_code": int(exit_code)}
        print_json(document, stderr=True)
        return
    print(f"botctl: {message}", file=sys.stderr)
    if hint:
        print(f"  → {hint}", file=sys.stderr)


def _print_unexpected_error(error: BaseException, *, debug: bool, as_json: bool) -> int:
    """Print ``error``; returns its exit code."""
    error_type = type(error).__name__
    if debug:
        traceback.print_exception(error)
        return ExitCode.FAILED
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        file = f" ({error.filename})" if error.filename else ""
        hint = "Free some space, then type the command again."
        _print_error(f"the disk is full{file}.", hint, ExitCode.FAILED, error_type, as_json=as_json)
        return ExitCode.FAILED
    if isinstance(error, FileNotFoundError) and (deleted := _deleted_working_folder()) is not None:
        _print_error(str(deleted), deleted.hint, deleted.exit_code, type(deleted).__name__, as_json=as_json)
        return deleted.exit_code
    message = f"an unexpected {error_type} stopped this command. It is a bug in botctl or in one of the bot's files."
    _print_error(message, _write_crash_file(error), ExitCode.FAILED, error_type, as_json=as_json)
    return ExitCode.FAILED


def _deleted_working_folder() -> ConfigError | None:
    """The error that says so, if the working directory has been deleted: any relative path is not found then."""
    try:
        working_folder()
    except ConfigError as error:
        return error
    return None


def _write_crash_file(error: BaseException) -> str:
    """Write the traceback to a file; returns a sentence that says where it is."""
    text = redact("".join(traceback.format_exception(error)))
    try:
        handle, path = tempfile.mkstemp(prefix="botctl-crash-", suffix=".txt")  # mode 0600
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        return f"The traceback could not be written to a file: {redact(repr(error))}. Add --debug to print it."
    return f"The traceback is in {path}. Add --debug to print it."

"""The one place where an error becomes words and an exit code.

An expected error (`BotctlError`) is a sentence and a hint on stderr. An unexpected one is a bug: its traceback with
``--debug``, otherwise a sentence and a crash file that holds the traceback, secrets removed. A call whose words make no
sense is Typer's to explain. With ``--json`` each of them is one JSON object, and nothing else is on stderr.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import typer

from botctl.core.errors import BotctlError, ExitCode
from botctl.core.redact import redact

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


@runtime_checkable
class ClickUsageError(Protocol):
    """Typer's errors of the words of a call, by shape: the class is one of Typer's insides."""

    exit_code: int
    ctx: Any  # typer.Context; None where no verb was found yet

    def format_message(self) -> str:
        """The sentence."""
        ...

    def show(self) -> None:
        """Print the usage and the sentence."""
        ...


def run_guarded(call: Callable[[], object], *, debug: bool = False, as_json: bool = False) -> int:
    """Run ``call`` and return the exit code that its end, or its error, stands for. ``call`` may return one itself."""
    if as_json:
        _silence_logging()
    try:
        code = call()
    except BaseException as error:  # noqa: BLE001  this is the boundary
        return _report_error(error, debug=debug, as_json=as_json)
    return code if isinstance(code, int) else ExitCode.OK


def _report_error(error: BaseException, *, debug: bool, as_json: bool) -> int:
    """Say what ``error`` is; returns the exit code that it stands for."""
    code: int = ExitCode.FAILED
    match error:
        case BotctlError():
            code = error.exit_code
            _print_error(str(error), error.hint, code, type(error).__name__, as_json=as_json)
            if debug:
                traceback.print_exception(error)
        case ClickUsageError():
            code = error.exit_code
            _print_usage_error(error, as_json=as_json)
        case SystemExit():
            code = error.code if isinstance(error.code, int) else ExitCode.OK
        case KeyboardInterrupt():
            code = ExitCode.INTERRUPTED
        case typer.Abort():  # Ctrl-D where something was asked
            code = ExitCode.DECISION
            _print_error("nothing was done: the question got no answer.", "", code, "NeedsDecision", as_json=as_json)
        case BrokenPipeError():
            # The reader of our output has left (`| head`): nothing more can be said there, not even at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        case Exception():
            _print_unexpected_error(error, debug=debug, as_json=as_json)
        case _:
            raise error
    return code


def _silence_logging() -> None:
    """Where a verb has no logs of its own, a warning would go to stderr as it is; who reads JSON cannot read that."""
    logging.getLogger().addHandler(logging.NullHandler())


def _print_usage_error(error: ClickUsageError, *, as_json: bool) -> None:
    if not as_json:
        error.show()
        return
    hint = f"`{error.ctx.command_path if error.ctx else 'botctl'} --help` lists what it takes."
    _print_error(error.format_message(), hint, error.exit_code, "UsageError", as_json=True)


def _print_error(sentence: str, hint: str, code: int, kind: str, *, as_json: bool) -> None:
    sentence, hint = redact(sentence), redact(hint)
    if as_json:
        said = {"error": sentence, "hint": hint, "type": kind, "exit_code": int(code)}
        print(json.dumps(said), file=sys.stderr)
        return
    print(f"botctl: {sentence}", file=sys.stderr)
    if hint:
        print(f"  → {hint}", file=sys.stderr)


def _print_unexpected_error(error: Exception, *, debug: bool, as_json: bool) -> None:
    kind = type(error).__name__
    if debug:
        traceback.print_exception(error)
        return
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        where = f" ({error.filename})" if error.filename else ""
        _print_error(f"the disk is full{where}.", "Free some space, then try again.", 1, kind, as_json=as_json)
        return
    sentence = f"an unexpected {kind} stopped this command; it is a fault in botctl or in a command's file."
    _print_error(sentence, _write_crash_file(error), ExitCode.FAILED, kind, as_json=as_json)


def _write_crash_file(error: Exception) -> str:
    """Write the traceback where a person can find it; returns the sentence that says where."""
    text = redact("".join(traceback.format_exception(error)))
    try:
        handle, path = tempfile.mkstemp(prefix="botctl-crash-", suffix=".txt")  # mode 0600
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        return f"Its traceback could not be kept: {redact(repr(error))}. Run it again with --debug."
    return f"The traceback is in {path}; --debug prints it."

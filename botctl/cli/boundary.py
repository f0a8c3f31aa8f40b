"""The one place where an error becomes words and an exit code.

An expected error (`BotctlError`) is a sentence and a hint on stderr. An unexpected one is a bug: its traceback with
``--debug``, otherwise a sentence and a crash file that holds the traceback, secrets removed. With ``--json`` both are
JSON.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable

from botctl.core.errors import BotctlError, ExitCode

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


def guarded(call: Callable[[], object], *, debug: bool = False, as_json: bool = False) -> int:
    """Run ``call`` and return the exit code that its end, or its error, stands for."""
    try:
        call()
    except BotctlError as error:
        _say(str(error), error.hint, error.exit_code, type(error).__name__, as_json=as_json)
        if debug:
            traceback.print_exception(error)
        return error.exit_code
    except SystemExit as end:  # Typer's own ends: help, a usage error, typer.Exit
        return end.code if isinstance(end.code, int) else ExitCode.OK
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has left (`| head`): nothing more can be said there, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except Exception as error:  # noqa: BLE001 - this is the boundary
        _unexpected(error, debug=debug, as_json=as_json)
        return ExitCode.FAILED
    return ExitCode.OK


def _say(sentence: str, hint: str, code: int, kind: str, *, as_json: bool) -> None:
    from botctl.core.redact import redact

    sentence, hint = redact(sentence), redact(hint)
    if as_json:
        said = {"error": sentence, "hint": hint, "type": kind, "exit_code": int(code)}
        print(json.dumps(said), file=sys.stderr)
        return
    print(f"botctl: {sentence}", file=sys.stderr)
    if hint:
        print(f"  → {hint}", file=sys.stderr)


def _unexpected(error: Exception, *, debug: bool, as_json: bool) -> None:
    kind = type(error).__name__
    if debug:
        traceback.print_exception(error)
        return
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        where = f" ({error.filename})" if error.filename else ""
        _say(f"the disk is full{where}.", "Free some space, then try again.", 1, kind, as_json=as_json)
        return
    sentence = f"an unexpected {kind} stopped this command; it is a fault in botctl or in a command's file."
    _say(sentence, _crash_file(error), ExitCode.FAILED, kind, as_json=as_json)


def _crash_file(error: Exception) -> str:
    """Write the traceback where a person can find it; returns the sentence that says where."""
    from botctl.core.redact import redact

    text = redact("".join(traceback.format_exception(error)))
    try:
        handle, path = tempfile.mkstemp(prefix="botctl-crash-", suffix=".txt")  # mode 0600
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        return f"Its traceback could not be kept: {redact(repr(error))}. Run it again with --debug."
    return f"The traceback is in {path}; --debug prints it."

"""The one place that prints JSON: ``--json`` of every command, and the errors of commands with ``--json``.

Kept apart from `output`, which loads Rich.
"""

from __future__ import annotations

import codecs
import json
import sys
from typing import Any, TextIO

from botctl.core.escape import escape_json


def print_json(value: Any, *, stderr: bool = False) -> None:
    """Print ``value`` as one line that does nothing to a terminal, whatever texts are in it."""
    stream = sys.stderr if stderr else sys.stdout
    print(json_line(value, stream), file=stream)


def json_line(value: Any, stream: TextIO) -> str:
    """``value`` as JSON: readable if ``stream`` takes all characters, else in ASCII."""
    return escape_json(json.dumps(value, ensure_ascii=not _takes_all(stream)))


def _takes_all(stream: TextIO) -> bool:
    try:
        return codecs.lookup(stream.encoding).name == "utf-8"
    except (LookupError, TypeError, AttributeError):  # no encoding, or no stream
        return False

"""A lost connection as one line: disnake logs an error with the traceback of three libraries, each time it tries."""

from __future__ import annotations

import logging
from typing import Final

from botctl.core.escape import safe

_log = logging.getLogger(__name__)
_BEGINS: Final = "Attempting a reconnect in"  # disnake: client.py, Client.connect


class Calm(logging.Filter):
    """Turns that record of disnake's into a warning of one line; the traceback is there at DEBUG."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not str(record.msg).startswith(_BEGINS) or not isinstance(record.args, tuple) or not record.exc_info:
            return True
        error = record.exc_info[1]
        _log.debug("%s", record.getMessage(), exc_info=record.exc_info)
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg = "the connection to Discord is lost (%s: %s); trying again in %.1f s"
        record.args = (type(error).__name__, safe(error, 200), *record.args)
        record.exc_info = record.exc_text = None
        return True


_CALM: Final = Calm()


def calm_reconnects() -> None:
    """Let disnake's client log so from now on. More than once is fine."""
    logging.getLogger("disnake.client").addFilter(_CALM)

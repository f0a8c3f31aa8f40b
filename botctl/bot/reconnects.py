"""Log a lost connection in one line: disnake logs an error with a long traceback at each attempt."""

from __future__ import annotations

import logging
from typing import Final

from botctl.core.escape import safe

_log = logging.getLogger(__name__)
_PREFIX: Final = "Attempting a reconnect in"  # disnake: client.py, Client.connect


class ReconnectFilter(logging.Filter):
    """Turns that log record of disnake into a one-line warning; the traceback is logged at DEBUG."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not str(record.msg).startswith(_PREFIX) or not isinstance(record.args, tuple) or not record.exc_info:
            return True
        error = record.exc_info[1]
        _log.debug("%s", record.getMessage(), exc_info=record.exc_info)
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg = "the connection to Discord is lost (%s: %s); trying again in %.1f s"
        record.args = (type(error).__name__, safe(error, 200), *record.args)
        record.exc_info = record.exc_text = None
        return True


_RECONNECT_FILTER: Final = ReconnectFilter()


def shorten_reconnect_logs() -> None:
    """Install the filter. Calling it again changes nothing."""
    logging.getLogger("disnake.client").addFilter(_RECONNECT_FILTER)

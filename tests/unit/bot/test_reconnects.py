"""A lost connection is one warning."""

from __future__ import annotations

import logging

import pytest

from botctl.bot.reconnects import ReconnectFilter, shorten_reconnect_logs


@pytest.fixture
def disnake_log():
    logger = logging.getLogger("disnake.client")
    before = logger.filters[:]
    shorten_reconnect_logs()
    shorten_reconnect_logs()
    yield logger
    assert len(logger.filters) == len({*before, *(f for f in logger.filters if isinstance(f, ReconnectFilter))})
    logger.filters[:] = before


def test_lost_connection_is_one_warning_with_traceback_at_debug(disnake_log, caplog):
    with caplog.at_level(logging.DEBUG):
        try:
            raise ConnectionResetError(104, "Connection reset\nby peer")
        except ConnectionResetError:
            disnake_log.exception("Attempting a reconnect in %.2fs", 3.14159)
    (warning,) = [record for record in caplog.records if record.name == "disnake.client"]
    text = warning.getMessage()
    assert (warning.levelname, warning.exc_info) == ("WARNING", None)
    assert text.startswith("the connection to Discord is lost (ConnectionResetError: ")
    assert text.endswith("trying again in 3.1 s")
    assert "\n" not in text
    (debug_record,) = [record for record in caplog.records if record.name == "botctl.bot.reconnects"]
    assert debug_record.levelno == logging.DEBUG
    assert debug_record.exc_info[0] is ConnectionResetError


def test_other_records_of_disnake_are_unchanged(disnake_log, caplog):
    try:
        raise ValueError("x")
    except ValueError:
        disnake_log.exception("Ignoring exception in %s", "on_ready")
    (record,) = caplog.records
    assert (record.levelname, record.exc_info[0]) == ("ERROR", ValueError)

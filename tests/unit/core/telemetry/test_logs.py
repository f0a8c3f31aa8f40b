"""What is logged, by whomever, reaches both sinks, with its fields and without secrets."""

import io
import json
import logging
import threading
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from botctl.core.config.settings import LogLevel, Settings
from botctl.core.redact import _Known, redact, register
from botctl.core.telemetry.logs import FILE_ONLY, start_logs, stderr_logs

SECRET = "hunter2-of-the-logs"
BOT_TOKEN = "MTA5OTk5OTk5OTk5OTk5OTk5.GabcdE.abcdefghijklmnopqrstuvwxyz0123456789AB"


@pytest.fixture(autouse=True)
def _own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is registered here must not be redacted in other tests."""
    monkeypatch.setattr(redact.__self__, "_known", _Known())  # type: ignore[attr-defined]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Logs:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.stderr = io.StringIO()

    def start(self, level: LogLevel = LogLevel.INFO, **kwargs: Any) -> Any:
        settings = Settings.model_validate({"logs": {"level": level}})
        return start_logs(settings, self.root, **{"stream": self.stderr, **kwargs})

    @property
    def lines(self) -> list[dict[str, Any]]:
        text = (self.root / "logs" / "botctl.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    @property
    def all(self) -> str:
        return self.stderr.getvalue() + (self.root / "logs" / "botctl.jsonl").read_text(encoding="utf-8")


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


def test_context_fields_are_in_both_sinks(logs: Logs) -> None:
    with logs.start(), logger.contextualize(command="roll", guild="1", user="2", interaction="3"):
        logger.bind(service="bot").info("answered with {}", 42)
    (line,) = logs.lines
    assert line["message"] == "answered with 42"
    assert line["logger"] == __name__
    assert {k: line[k] for k in ("command", "guild", "user", "interaction", "service")} == {
        "command": "roll", "guild": "1", "user": "2", "interaction": "3", "service": "bot",
    }  # fmt: skip
    assert "answered with 42 command=roll guild=1 user=2 interaction=3 service=bot" in logs.stderr.getvalue()


def test_exception_is_logged_without_values_of_variables(logs: Logs) -> None:
    def fail(hidden: str) -> None:
        raise ValueError("out of " + str(len(hidden)))

    with logs.start():
        try:
            fail("private value")
        except ValueError:
            logger.bind(error_id="abc").exception("the handler failed")
    (line,) = logs.lines
    assert line["level"] == "ERROR"
    assert line["error_id"] == "abc"
    assert line["error"]["type"] == "ValueError"
    assert line["error"]["message"] == "out of 13"
    assert "in fail" in line["error"]["trace"]
    assert "  ValueError: out of 13\n" in logs.stderr.getvalue()
    assert "private value" not in logs.stderr.getvalue().replace('fail("private value")', "")


def test_no_secret_reaches_a_sink(logs: Logs) -> None:
    register(SECRET)
    with logs.start(LogLevel.DEBUG), logger.contextualize(user=f"<{SECRET}>"):
        logger.info("plain {}", SECRET)
        logger.bind(secret=SECRET, other=[SECRET]).warning(f"Authorization: Bot {BOT_TOKEN}")
        logging.getLogger("lib").info("half %s half %r", SECRET, {"k": SECRET})
        try:
            raise ConnectionError(f"mongodb://ann:{SECRET}@host refused {BOT_TOKEN}")
        except ConnectionError:
            logger.exception("lost")
            logging.getLogger("lib").exception("lost too")
    assert len(logs.lines) == 5
    assert SECRET not in logs.all
    assert BOT_TOKEN not in logs.all


def test_standard_logging_keeps_its_logger_name_and_level(logs: Logs) -> None:
    with logs.start():
        logging.getLogger("some.lib").warning("careful with %s", "{braces}")
        logging.getLogger("some.lib").log(25, "between")
        logging.getLogger("some.lib").debug("not asked for")
    assert [(line["logger"], line["level"], line["message"]) for line in logs.lines] == [
        ("some.lib", "WARNING", "careful with {braces}"),
        ("some.lib", "Level 25", "between"),
    ]


def test_only_known_fields_of_standard_logging_are_kept(logs: Logs) -> None:
    with logs.start():
        logging.getLogger("x").error("failed", extra={"command": "roll", "error_id": "abcd2345", "other": "y"})
    (line,) = logs.lines
    assert (line["command"], line["error_id"], "other" in line) == ("roll", "abcd2345", False)


def test_wrong_arguments_are_logged_and_redacted(logs: Logs, capsys: pytest.CaptureFixture[str]) -> None:
    register(SECRET)
    with logs.start():
        logging.getLogger("lib").info("%d", SECRET)
    assert logs.lines[0]["message"] == "%d (its arguments do not fit)"
    assert SECRET not in capsys.readouterr().err


def test_noisy_libraries_never_log_debug(logs: Logs) -> None:
    with logs.start(LogLevel.DEBUG):
        assert not logging.getLogger("disnake.http").isEnabledFor(logging.DEBUG)
        assert not logging.getLogger("pymongo.command").isEnabledFor(logging.DEBUG)
        assert logging.getLogger("disnake.http").isEnabledFor(logging.INFO)
        assert logging.getLogger("other").isEnabledFor(logging.DEBUG)


def test_library_info_is_in_the_file_only(logs: Logs) -> None:
    with logs.start():
        logging.getLogger("disnake.gateway").info("connected")
        logging.getLogger("disnake.gateway").warning("lost")
        logging.getLogger("botctl.bot").info("ready")
    assert [line["message"] for line in logs.lines] == ["connected", "lost", "ready"]
    shown = logs.stderr.getvalue()
    assert ("connected" in shown, "lost" in shown, "ready" in shown) == (False, True, True)


def test_file_only_logger_is_not_on_stderr(logs: Logs) -> None:
    with logs.start():
        logging.getLogger(FILE_ONLY).error("Redis does not answer.")
    assert [line["message"] for line in logs.lines] == ["Redis does not answer."]
    assert logs.stderr.getvalue() == ""


def test_warnings_are_logged(logs: Logs) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with logs.start():
            warnings.warn("old habit", UserWarning, stacklevel=1)
    (line,) = logs.lines
    assert (line["logger"], line["level"]) == ("py.warnings", "WARNING")
    assert "UserWarning: old habit" in line["message"]


def test_thread_exception_is_logged(logs: Logs) -> None:
    with logs.start():
        thread = threading.Thread(target=lambda: 1 / 0, name="worker")
        thread.start()
        thread.join()
    (line,) = logs.lines
    assert line["message"] == "Thread worker ended with an exception"
    assert line["error"]["type"] == "ZeroDivisionError"


def test_unraisable_exception_is_logged(logs: Logs) -> None:
    class Bad:
        def __del__(self) -> None:
            raise RuntimeError("in the end")

    with logs.start():
        Bad()
    (line,) = logs.lines
    assert line["error"]["message"] == "in the end"


def test_each_sink_has_its_level(logs: Logs) -> None:
    with logs.start(LogLevel.DEBUG, stderr_level=LogLevel.WARNING):
        logger.debug("only kept")
        logger.warning("shown too")
    assert [line["message"] for line in logs.lines] == ["only kept", "shown too"]
    assert "only kept" not in logs.stderr.getvalue()
    assert "shown too" in logs.stderr.getvalue()


def test_stderr_level_can_be_lower_than_file_level(logs: Logs) -> None:
    with logs.start(LogLevel.ERROR, stderr_level=LogLevel.DEBUG):
        logger.debug("looking closely")
    assert "looking closely" in logs.stderr.getvalue()
    assert not (logs.root / "logs" / "botctl.jsonl").exists()


def test_json_on_stderr_is_the_same_as_in_the_file(logs: Logs) -> None:
    with logs.start(json_stderr=True):
        logger.info("hello")
    assert json.loads(logs.stderr.getvalue()) == logs.lines[0]


@pytest.mark.parametrize(
    ("stream", "no_color", "colour"), [(Terminal(), "", True), (Terminal(), "1", False), (io.StringIO(), "", False)]
)
def test_colour_needs_a_terminal_without_no_color(
    logs: Logs, monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, no_color: str, colour: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    with logs.start(stream=stream):
        logger.error("red")
    assert ("\x1b[" in stream.getvalue()) is colour


def test_unwritable_folder_is_reported_and_not_raised(logs: Logs) -> None:
    (logs.root / "logs").write_text("a file")
    with logs.start():
        logger.info("one")
        logger.info("two")
    shown = logs.stderr.getvalue()
    assert shown.count("cannot be written") == 1
    assert "one" in shown
    assert "two" in shown


def test_a_closed_stderr_does_not_stop_the_bot(logs: Logs) -> None:
    with logs.start():
        logs.stderr.close()
        logger.info("kept")
    assert logs.lines[0]["message"] == "kept"


def test_stderr_logs_redacts_and_writes_no_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    register(SECRET)
    with stderr_logs():
        logging.getLogger("botctl.sandbox.rest.routing").warning("The sandbox has no route %s /%s", "GET", SECRET)
        logging.getLogger("botctl.sandbox").info("It listens.")
        logging.getLogger("botctl.sandbox").debug("A byte came.")
        logging.getLogger("aiohttp.access").info("GET /")
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line.partition(" ") for line in err.splitlines()]
    assert [line for _, _, line in lines] == [
        "WARNING botctl.sandbox.rest.routing The sandbox has no route GET /[redacted]",
        "INFO    botctl.sandbox It listens.",
    ]
    assert all(datetime.fromisoformat(at).tzinfo for at, _, _ in lines)


@pytest.fixture
def _as_it_was() -> Iterator[None]:
    top = logging.getLogger()
    before = (
        top.handlers[:],
        top.level,
        logging.getLogger("disnake").level,
        threading.excepthook,
        warnings.showwarning,
    )
    yield
    after = (top.handlers[:], top.level, logging.getLogger("disnake").level, threading.excepthook, warnings.showwarning)
    assert before == after


@pytest.mark.usefixtures("_as_it_was")
def test_logging_is_restored_after_an_exception(logs: Logs) -> None:
    def fail_inside() -> None:
        with logs.start():
            logger.info("inside")
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    logger.info("outside")
    logging.getLogger("lib").warning("outside")
    assert [line["message"] for line in logs.lines] == ["inside"]

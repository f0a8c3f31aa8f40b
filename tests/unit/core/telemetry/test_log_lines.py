"""One line for machines, one for people: no secret in either, nothing that forges another line."""

import json
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from botctl.core.clock import iso_ms
from botctl.core.telemetry.log_lines import MESSAGE_LIMIT, TRACE_LIMIT, as_json, as_text, iso, make_line

AT = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
any_text = st.text(st.characters(codec=None), max_size=200)


def test_json_line_has_the_documented_fields() -> None:
    error = ValueError("token=abcdef")
    line = make_line(
        AT,
        "ERROR",
        "botctl.x",
        "failed",
        fields={"command": "roll", "user": "1", "n": 2, "gone": None},
        error=(error, "T"),
    )
    assert json.loads(as_json(line)) == {
        "at": "2026-01-02T03:04:05.678Z",
        "level": "ERROR",
        "logger": "botctl.x",
        "message": "failed",
        "command": "roll",
        "user": "1",
        "n": 2,
        "error": {"type": "ValueError", "message": "token=[redacted]", "trace": "T"},
    }


def test_text_line_has_time_level_logger_and_fields() -> None:
    line = make_line(
        AT, "INFO", "botctl.x", "done", fields={"command": "ops status"}, error=(ValueError("v"), "a\nb\x1b\n")
    )
    assert as_text(line) == '2026-01-02T03:04:05.678Z INFO    botctl.x done command="ops status"\n  a\n  b\\x1b\n'
    assert as_text(line, date=False).startswith("03:04:05.678Z INFO")
    assert "\x1b[" in as_text(line, colour=True)


def test_field_cannot_replace_a_reserved_key() -> None:
    line = make_line(AT, "INFO", "x", "real", fields={"message": "forged", "error": "none"})
    data = json.loads(as_json(line))
    assert (data["message"], data["message_"], data["error_"]) == ("real", "forged", "none")


def test_values_unknown_to_json_become_text() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    fields = {"a": float("nan"), "b": [1], "c": Broken(), "d": True, "e": 1.5}
    data = json.loads(as_json(make_line(AT, "INFO", "x", "m", fields=fields)))
    assert (data["a"], data["b"], data["d"], data["e"]) == ("nan", "[1]", True, 1.5)
    assert "Broken" in data["c"]


def test_long_text_and_traceback_are_cut() -> None:
    line = make_line(AT, "INFO", "x", "m" * 10_000, error=(ValueError(), "t" * 100_000 + "end"))
    assert len(line.message) == MESSAGE_LIMIT
    assert line.error is not None
    assert len(line.error.trace) == TRACE_LIMIT
    assert line.error.trace.endswith("end")


@given(any_text, st.dictionaries(st.sampled_from(["command", "user"]), any_text))
def test_any_record_is_one_json_line(message: str, fields: dict[str, str]) -> None:
    line = make_line(AT, "INFO", "x", message, fields=fields)
    raw = as_json(line)
    assert raw.count(b"\n") == 1
    assert json.loads(raw).keys() >= fields.keys()
    first, *others = as_text(line).rstrip("\n").split("\n")
    assert first.startswith("2026-01-02T03:04:05.678Z INFO    x ")
    assert all(row.startswith("  | ") for row in others)
    assert "\x1b" not in as_text(line)


@given(st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1)), st.integers(-12, 12))  # noqa: DTZ001 - zones come below
def test_time_format_equals_iso_ms(at: datetime, hours: int) -> None:
    aware = at.replace(tzinfo=timezone(timedelta(hours=hours)))
    assert iso(aware) == iso_ms(aware)

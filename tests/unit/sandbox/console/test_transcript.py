"""Transcripts are formatted, parsed back and compared without ids and times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.errors import UsageError
from botctl.sandbox.console.client import Identity
from botctl.sandbox.console.transcript import (
    HEADER,
    Exchange,
    diff_output,
    format_exchange,
    format_header,
    parse_header,
    parse_transcript,
)

ROLL = Exchange("/roll sides:20", ["dice BOT · ann used /roll", "  You rolled 17."])


def test_transcript_contains_inputs_and_outputs() -> None:
    text = f"{HEADER}\n{format_exchange(ROLL)}\n# a note\n{format_exchange(Exchange('hello', []))}"
    assert text.splitlines()[1:4] == ["> /roll sides:20", "  dice BOT · ann used /roll", "    You rolled 17."]
    assert parse_transcript(text) == [ROLL, Exchange("hello", [])]


lines = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=20).map(str.rstrip)


typed = st.tuples(lines.filter(bool), st.lists(lines, max_size=2)).map(lambda parts: "\n".join((parts[0], *parts[1])))


@given(st.lists(st.builds(Exchange, typed, st.lists(lines, max_size=4)), max_size=4))
def test_formatted_exchanges_parse_back(exchanges: list[Exchange]) -> None:
    parsed = parse_transcript("".join(map(format_exchange, exchanges)))
    assert [exchange.typed for exchange in parsed] == [exchange.typed for exchange in exchanges]
    assert all(not diff_output(written, read.output) for written, read in zip(exchanges, parsed, strict=True))


@pytest.mark.parametrize(
    "identity", [Identity(), Identity("ann", "general"), Identity("bob brown", "staff", "Two words")]
)
def test_header_contains_the_identity(identity: Identity) -> None:
    text = format_header(identity) + format_exchange(Exchange("hello", ["# as: cat"])) + "# channel: elsewhere\n"
    assert text.startswith(HEADER)
    assert parse_header(text) == identity
    assert [exchange.typed for exchange in parse_transcript(text)] == ["hello"]


@pytest.mark.parametrize(
    ("expected", "output"),
    [
        (["You rolled …."], ["You rolled 3."]),
        (["a", "…", "z"], ["a", "b", "c", "z"]),
        (["…", "z"], ["z"]),
        (["id 900000000000000101"], ["id 123456789012345678"]),
        (["at 2026-11-23T21:55:18.927142+00:00 now"], ["at 2027-01-01T00:00:00+00:00 now"]),
        (["http://127.0.0.1:8000/cdn/a.png  3 ms"], ["http://127.0.0.1:9/cdn/a.png  12.5 ms"]),
        (["end", ""], ["end"]),
    ],
)
def test_ids_times_and_wildcards_are_no_difference(expected: list[str], output: list[str]) -> None:
    assert diff_output(Exchange("x", expected), output) == []


@pytest.mark.parametrize(
    ("expected", "output", "diff"),
    [
        (["a 1"], ["a 2"], ["- a 1", "+ a 2"]),
        (["a", "b"], ["a"], ["  a", "- b"]),
        ([], ["new"], ["+ new"]),
        (["x … z", "b"], ["x y z", "c"], ["  x y z", "- b", "+ c"]),
        (["…"], [], []),
    ],
)
def test_changed_output_gives_a_diff(expected: list[str], output: list[str], diff: list[str]) -> None:
    assert diff_output(Exchange("x", expected), output) == diff


def test_invalid_transcript_names_the_line() -> None:
    with pytest.raises(UsageError, match="Line 2 of the transcript"):
        parse_transcript("> /ping\nPong!\n")

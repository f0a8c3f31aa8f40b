"""Transcripts: written, read back, compared without what changes each time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.errors import UsageError
from botctl.sandbox.console.client import Identity
from botctl.sandbox.console.transcript import (
    HEAD,
    Exchange,
    diff_output,
    format_exchange,
    format_header,
    parse_header,
    parse_transcript,
)

ROLL = Exchange("/roll sides:20", ["dice BOT · ann used /roll", "  You rolled 17."])


def test_a_transcript_is_lines_typed_and_what_came() -> None:
    text = f"{HEAD}\n{format_exchange(ROLL)}\n# a note\n{format_exchange(Exchange('hello', []))}"
    assert text.splitlines()[1:4] == ["> /roll sides:20", "  dice BOT · ann used /roll", "    You rolled 17."]
    assert parse_transcript(text) == [ROLL, Exchange("hello", [])]


lines = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=20).map(str.rstrip)


typed = st.tuples(lines.filter(bool), st.lists(lines, max_size=2)).map(lambda them: "\n".join((them[0], *them[1])))


@given(st.lists(st.builds(Exchange, typed, st.lists(lines, max_size=4)), max_size=4))
def test_what_is_written_is_read_back(exchanges: list[Exchange]) -> None:
    found = parse_transcript("".join(map(format_exchange, exchanges)))
    assert [one.typed for one in found] == [one.typed for one in exchanges]
    assert all(not diff_output(kept, said.output) for kept, said in zip(exchanges, found, strict=True))


@pytest.mark.parametrize("identity", [Identity(), Identity("ann", "general"), Identity("bob brown", "staff", "Two words")])
def test_a_transcript_says_where_it_begins(identity: Identity) -> None:
    text = format_header(identity) + format_exchange(Exchange("hello", ["# as: nobody"])) + "# channel: elsewhere\n"
    assert text.startswith(HEAD)
    assert parse_header(text) == identity
    assert [one.typed for one in parse_transcript(text)] == ["hello"]


@pytest.mark.parametrize(
    ("kept", "came"),
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
def test_what_changes_each_time_is_no_difference(kept: list[str], output: list[str]) -> None:
    assert diff_output(Exchange("x", kept), output) == []


@pytest.mark.parametrize(
    ("kept", "came", "shown"),
    [
        (["a 1"], ["a 2"], ["- a 1", "+ a 2"]),
        (["a", "b"], ["a"], ["  a", "- b"]),
        ([], ["new"], ["+ new"]),
        (["x … z", "b"], ["x y z", "c"], ["  x y z", "- b", "+ c"]),
        (["…"], [], []),
    ],
)
def test_what_is_another_answer_is_shown(kept: list[str], output: list[str], shown: list[str]) -> None:
    assert diff_output(Exchange("x", kept), output) == shown


def test_what_is_no_transcript_is_said_so() -> None:
    with pytest.raises(UsageError, match="Line 2 of the transcript"):
        parse_transcript("> /ping\nPong!\n")

"""Transcripts of a session at the prompt: a text of input and output lines that can be replayed and compared.

::

    # botctl sandbox transcript: "> " is input, indented lines are expected output, … matches any text
    # as: ann
    # channel: general
    > /roll sides:20
      botctl-bot BOT · ann used /roll
        You rolled 17

``|`` begins a further line of an input. The header names the user and the place of the first input. Ids and times are
removed before the comparison; a person who edits the file writes ``…`` in place of random output.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from botctl.core.errors import UsageError
from botctl.sandbox.console.client import Identity

HEADER = '# botctl sandbox transcript: "> " is input, indented lines are expected output, … matches any text'
_INPUT, _CONTINUATION, _OUTPUT = "> ", "|", "  "
_HEADER_FIELD = re.compile(r"# (as|channel|guild): (.+)")
_WILDCARD = "…"
_VOLATILE = (
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d| UTC)?"), "<time>"),
    (re.compile(r"https?://127\.0\.0\.1:\d+"), "<sandbox>"),
    (re.compile(r"\b\d{17,20}\b"), "<id>"),
    (re.compile(r"\b\d+(?:\.\d+)? ?ms\b"), "<ms>"),
)


@dataclass(frozen=True)
class Exchange:
    """An input and the output that follows it."""

    typed: str
    output: Sequence[str]


def format_header(identity: Identity) -> str:
    fields = {name: value for name, value in identity.json().items() if value}
    return "\n".join([HEADER, *(f"# {name}: {value}" for name, value in fields.items())]) + "\n"


def parse_header(text: str) -> Identity:
    """The identity in the header of a transcript; missing fields are None."""
    header = itertools.takewhile(lambda line: not line.startswith(_INPUT), text.split("\n"))
    fields = {match[1]: match[2] for line in header if (match := _HEADER_FIELD.fullmatch(line))}
    return Identity(fields.get("as"), fields.get("channel"), fields.get("guild"))


def format_exchange(exchange: Exchange) -> str:
    first, *more = exchange.typed.split("\n")
    typed = [_INPUT + first, *(f"{_CONTINUATION} {line}" if line else _CONTINUATION for line in more)]
    return "\n".join([*typed, *((_OUTPUT + line).rstrip() for line in exchange.output)]) + "\n"


def parse_transcript(text: str) -> list[Exchange]:
    """Parse a transcript. Comments (``#``) and blank lines between exchanges are ignored. Raises UsageError."""
    exchanges: list[Exchange] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith(_INPUT):
            exchanges.append(Exchange(line.removeprefix(_INPUT), []))
        elif exchanges and not exchanges[-1].output and line.startswith(_CONTINUATION):
            exchanges[-1] = Exchange(f"{exchanges[-1].typed}\n{line.removeprefix(_CONTINUATION).removeprefix(' ')}", [])
        elif exchanges and (line.startswith(_OUTPUT) or not line):
            exchanges[-1] = Exchange(exchanges[-1].typed, [*exchanges[-1].output, line.removeprefix(_OUTPUT)])
        elif line and not line.startswith("#"):
            raise UsageError(f"Line {number} of the transcript is neither input nor output: {line[:60]}")
    return [Exchange(exchange.typed, _strip_blank_end(exchange.output)) for exchange in exchanges]


def normalize(lines: Iterable[str]) -> list[str]:
    """Replace what changes in each run (ids, times) by placeholders."""
    normalized = []
    for line in lines:
        for pattern, name in _VOLATILE:
            line = pattern.sub(name, line)  # noqa: PLW2901 - applies all patterns
        normalized.append(line.rstrip())
    return _strip_blank_end(normalized)


def diff_output(expected: Exchange, output: Iterable[str]) -> list[str]:
    """The difference between expected and actual output; empty when they match."""
    wanted, actual = normalize(expected.output), normalize(output)
    if re.fullmatch(_build_pattern(wanted), "".join(line + "\n" for line in actual)):
        return []
    return list(_diff(wanted, actual))


def _diff(wanted: list[str], actual: list[str]) -> Iterator[str]:
    # A line with … that matches is not a difference: the diff shows the actual line.
    expected = [
        next((line for line in actual if re.fullmatch(_build_pattern([pattern]), line + "\n")), pattern)
        for pattern in wanted
    ]
    yield from (line for line in difflib.ndiff(expected, actual) if not line.startswith("?"))


def _build_pattern(lines: Iterable[str]) -> str:
    """A regular expression for ``lines``; a line that is only ``…`` matches any number of lines."""
    return "".join(
        "(?:.*\n)*?" if line.strip() == _WILDCARD else re.escape(line).replace(re.escape(_WILDCARD), ".*?") + "\n"
        for line in lines
    )


def _strip_blank_end(lines: Sequence[str]) -> list[str]:
    kept = list(lines)
    while kept and not kept[-1]:
        kept.pop()
    return kept

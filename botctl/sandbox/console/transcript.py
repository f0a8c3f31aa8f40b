"""What a person typed and what came of it, as a text that can be typed again and compared. Pure.

::

    # botctl sandbox transcript: > is typed, what is indented must come; … stands for anything
    # as: ann
    # channel: general
    > /roll sides:20
      botctl-bot BOT · ann used /roll
        You rolled 17

``|`` begins each further line of what is typed, and the person and the place are those of the first line. Ids and times
are taken out of both sides before they are compared; what is random a person replaces with ``…``.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from botctl.core.errors import UsageError
from botctl.sandbox.console.client import Identity

HEAD = "# botctl sandbox transcript: > is typed, what is indented must come; … stands for anything"
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
    """One line that was typed, and the lines that came."""

    typed: str
    output: Sequence[str]


def format_header(identity: Identity) -> str:
    """The first lines of a transcript, which begins at ``identity``."""
    said = {name: value for name, value in identity.json().items() if value}
    return "\n".join([HEAD, *(f"# {name}: {value}" for name, value in said.items())]) + "\n"


def parse_header(text: str) -> Identity:
    """Where a transcript began, as far as it says so."""
    head = itertools.takewhile(lambda line: not line.startswith(_INPUT), text.split("\n"))
    said = {found[1]: found[2] for line in head if (found := _HEADER_FIELD.fullmatch(line))}
    return Identity(said.get("as"), said.get("channel"), said.get("guild"))


def format_exchange(exchange: Exchange) -> str:
    """``exchange`` as lines of a transcript."""
    first, *more = exchange.typed.split("\n")
    typed = [_INPUT + first, *(f"{_CONTINUATION} {line}" if line else _CONTINUATION for line in more)]
    return "\n".join([*typed, *((_OUTPUT + line).rstrip() for line in exchange.output)]) + "\n"


def parse_transcript(text: str) -> list[Exchange]:
    """The turns of a transcript; lines with ``#`` and empty ones between turns mean nothing. Raises UsageError."""
    exchanges: list[Exchange] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith(_INPUT):
            exchanges.append(Exchange(line.removeprefix(_INPUT), []))
        elif exchanges and not exchanges[-1].output and line.startswith(_CONTINUATION):
            exchanges[-1] = Exchange(f"{exchanges[-1].typed}\n{line.removeprefix(_CONTINUATION).removeprefix(' ')}", [])
        elif exchanges and (line.startswith(_OUTPUT) or not line):
            exchanges[-1] = Exchange(exchanges[-1].typed, [*exchanges[-1].output, line.removeprefix(_OUTPUT)])
        elif line and not line.startswith("#"):
            raise UsageError(f"Line {number} of the transcript is neither typed nor what came: {line[:60]}")
    return [Exchange(exchange.typed, _strip_blank_end(exchange.output)) for exchange in exchanges]


def normalize(lines: Iterable[str]) -> list[str]:
    """``lines`` without what is another one each time: ids, times."""
    shown = []
    for line in lines:
        for pattern, name in _VOLATILE:
            line = pattern.sub(name, line)  # noqa: PLW2901 - one line through all patterns
        shown.append(line.rstrip())
    return _strip_blank_end(shown)


def diff_output(expected: Exchange, output: Iterable[str]) -> list[str]:
    """What came otherwise, as a diff; empty where nothing did."""
    wanted, found = normalize(expected.output), normalize(output)
    if re.fullmatch(_build_pattern(wanted), "".join(line + "\n" for line in found)):
        return []
    return list(_diff(wanted, found))


def _diff(wanted: list[str], found: list[str]) -> Iterator[str]:
    # A line with … that fits is no difference: it is shown as it came.
    alike = [next((line for line in found if re.fullmatch(_build_pattern([one]), line + "\n")), one) for one in wanted]
    yield from (line for line in difflib.ndiff(alike, found) if not line.startswith("?"))


def _build_pattern(lines: Iterable[str]) -> str:
    """A line of ``…`` alone stands for any lines."""
    return "".join(
        "(?:.*\n)*?" if line.strip() == _WILDCARD else re.escape(line).replace(re.escape(_WILDCARD), ".*?") + "\n"
        for line in lines
    )


def _strip_blank_end(lines: Sequence[str]) -> list[str]:
    """Without empty lines at the end."""
    kept = list(lines)
    while kept and not kept[-1]:
        kept.pop()
    return kept

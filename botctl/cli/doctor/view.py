"""Draw the findings of `botctl doctor`: a line for each, and its mend below."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.text import Text

from botctl.cli.output import show
from botctl.doctor.finding import Finding, Mark

_SIGNS = {
    Mark.OK: ("✔", "green"),
    Mark.FAULT: ("✘", "bold red"),
    Mark.UNKNOWN: ("\N{EN DASH}", "yellow"),
}


def print_findings(findings: Sequence[Finding]) -> None:
    width = max((len(finding.check) for finding in findings), default=0)
    show(*(_line(finding, width) for finding in findings), _summary(findings))


def _line(finding: Finding, width: int) -> Text:
    sign, style = _SIGNS[finding.mark]
    line = Text(f"{sign} ", style).append(f"{finding.check:<{width}}  ", "not bold dim")
    line.append(finding.sentence, "not bold default")
    if finding.mend and finding.mark is not Mark.OK:
        line.append(f"\n{'':{width + 4}}→ {finding.mend}", "not bold cyan")
    return line


def _summary(findings: Iterable[Finding]) -> Text:
    marks = [finding.mark for finding in findings]
    counts = {mark: marks.count(mark) for mark in Mark}
    if not counts[Mark.FAULT]:
        return Text(f"\n{counts[Mark.OK]} well, {counts[Mark.UNKNOWN]} not known here.", "green")
    return Text(
        f"\n{counts[Mark.FAULT]} not well, {counts[Mark.OK]} well, {counts[Mark.UNKNOWN]} not known here.", "bold red"
    )


def as_json(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    return [
        {
            "check": finding.check,
            "mark": str(finding.mark),
            "sentence": finding.sentence,
            "mend": finding.mend,
        }
        for finding in findings
    ]

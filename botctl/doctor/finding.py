"""One line of the report: what was checked, whether it is well, and what to do if it is not."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Mark(enum.StrEnum):
    """``UNKNOWN``: it cannot be known here; the sentence says why. That is no fault."""

    OK = "ok"
    FAULT = "fault"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. ``mend``: what to do; empty if there is nothing to do."""

    check: str
    mark: Mark
    sentence: str
    mend: str = ""


def ok(check: str, sentence: str, mend: str = "") -> Finding:
    return Finding(check, Mark.OK, sentence, mend)


def fault(check: str, sentence: str, mend: str) -> Finding:
    return Finding(check, Mark.FAULT, sentence, mend)


def unknown(check: str, why: str, mend: str = "") -> Finding:
    return Finding(check, Mark.UNKNOWN, why, mend)


def has_fault(findings: Iterable[Finding]) -> bool:
    return any(finding.mark is Mark.FAULT for finding in findings)

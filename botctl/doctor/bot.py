"""What the processes of the bot say of its health. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from botctl.core.contracts.health import Diagnosis, Health
from botctl.core.escape import safe
from botctl.core.redact import redact
from botctl.doctor.finding import Finding, fault, ok, unknown

_MAX_LINE: Final = 500  # as in `botctl health`
_LOG: Final = "Look into logs/botctl.jsonl."


def assess_bot(diagnoses: Sequence[Diagnosis] | None) -> list[Finding]:
    """``diagnoses``: of all processes on this host, without those that say the same. None: no process tells."""
    if diagnoses is None:
        return [unknown("bot", "no `botctl run` of this project is up that could tell")]
    return [_assess(finding) for finding in diagnoses] or [ok("bot", "the bot is healthy")]


def _assess(finding: Diagnosis) -> Finding:
    sentence = safe(redact(f"{finding.verdict}: {finding.why}"), _MAX_LINE)
    if finding.verdict in (Health.STARTING, Health.DRAINING):  # as at a deploy: there is nothing to mend
        return unknown("bot", sentence)
    action = safe(redact(finding.action), _MAX_LINE)
    return fault("bot", sentence, f"{action[0].upper()}{action[1:].removesuffix('.')}." if action else _LOG)

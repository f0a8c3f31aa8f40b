"""Interleaved rounds and their ratios: the machine's speed drifts, a ratio inside one run does not."""

from __future__ import annotations

import json
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

Measured = Mapping[str, Sequence[Mapping[str, float]]]
"""By contender, a round each: what was measured, by name."""
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Bar:
    """A ratio that must not be exceeded: ``contender`` over ``baseline``, of ``measure``."""

    contender: str
    baseline: str
    measure: str
    at_most: float


def interleave(
    contenders: Mapping[str, Callable[[], dict[str, float]]], rounds: int
) -> dict[str, list[dict[str, float]]]:
    """Run every contender once a round, the order turned round each time; returns their measures by name."""
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    for number in range(rounds):
        order = list(contenders) if number % 2 == 0 else list(reversed(contenders))
        for name in order:
            measured[name].append(contenders[name]())
            shown = "  ".join(f"{key} {value:.4g}" for key, value in measured[name][-1].items())
            print(f"  round {number + 1}/{rounds}  {name:<12} {shown}", file=sys.stderr)
    return measured


def ratio(measured: Measured, bar: Bar) -> float:
    """The median over the rounds of contender / baseline, each pair from the same round."""
    pairs = zip(measured[bar.contender], measured[bar.baseline], strict=True)
    return statistics.median(ours[bar.measure] / theirs[bar.measure] for ours, theirs in pairs)


def report(
    name: str, measured: Mapping[str, Sequence[Mapping[str, float]]], bars: Sequence[Bar], **more: object
) -> bool:
    """Print medians and ratios, keep the raw run, and return whether every bar holds."""
    print(f"\n{name}")
    for contender, runs in measured.items():
        medians = "  ".join(f"{key} {statistics.median(run[key] for run in runs):.4g}" for key in runs[0])
        print(f"  {contender:<12} median of {len(runs)}: {medians}")
    judged = []
    for bar in bars:
        found = ratio(measured, bar)
        judged.append({**bar.__dict__, "found": round(found, 3), "holds": found <= bar.at_most})
        verdict = "holds" if found <= bar.at_most else "MISSED"
        print(f"  {bar.measure}: {bar.contender} / {bar.baseline} = {found:.2f}  (bar {bar.at_most}: {verdict})")
    RESULTS.mkdir(exist_ok=True)
    raw = {
        "name": name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "bars": judged,
        "rounds": measured,
        **more,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    return all(bool(one["holds"]) for one in judged)

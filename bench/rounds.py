"""Interleaved rounds and their ratios: the machine's speed drifts, but ratios within a run do not."""

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
"""The measures by name, for each round of each contender."""
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Threshold:
    """The maximum ratio of ``contender`` to ``baseline`` for ``measure``."""

    contender: str
    baseline: str
    measure: str
    at_most: float


def interleave(
    contenders: Mapping[str, Callable[[], dict[str, float]]], rounds: int
) -> dict[str, list[dict[str, float]]]:
    """Run every contender once per round, in alternating order; return their measures."""
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    for number in range(rounds):
        order = list(contenders) if number % 2 == 0 else list(reversed(contenders))
        for name in order:
            measured[name].append(contenders[name]())
            text = "  ".join(f"{key} {value:.4g}" for key, value in measured[name][-1].items())
            print(f"  round {number + 1}/{rounds}  {name:<12} {text}", file=sys.stderr)
    return measured


def ratio(measured: Measured, threshold: Threshold) -> float:
    """The median over the rounds of contender / baseline, each pair from the same round."""
    pairs = zip(measured[threshold.contender], measured[threshold.baseline], strict=True)
    return statistics.median(ours[threshold.measure] / theirs[threshold.measure] for ours, theirs in pairs)


def report(
    name: str, measured: Mapping[str, Sequence[Mapping[str, float]]], thresholds: Sequence[Threshold], **more: object
) -> bool:
    """Print medians and ratios, save the raw data, and return whether every threshold holds."""
    print(f"\n{name}")
    for contender, runs in measured.items():
        medians = "  ".join(f"{key} {statistics.median(run[key] for run in runs):.4g}" for key in runs[0])
        print(f"  {contender:<12} median of {len(runs)}: {medians}")
    results = []
    for threshold in thresholds:
        found = ratio(measured, threshold)
        holds = found <= threshold.at_most
        results.append({**threshold.__dict__, "found": round(found, 3), "holds": holds})
        ratio_name = f"{threshold.measure}: {threshold.contender} / {threshold.baseline}"
        print(f"  {ratio_name} = {found:.2f}  (at most {threshold.at_most}: {'holds' if holds else 'MISSED'})")
    RESULTS.mkdir(exist_ok=True)
    raw = {
        "name": name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "bars": results,
        "rounds": measured,
        **more,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    return all(bool(result["holds"]) for result in results)

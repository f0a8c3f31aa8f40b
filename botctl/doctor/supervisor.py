"""Whether the file of PM2 or the unit of systemd suits the bot. Pure: it gets their texts.

The file of PM2 is JavaScript, which is not run here. Its options are found where they are written as plain values.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from botctl.core.escape import safe
from botctl.doctor.finding import Finding, fault, ok, unknown

_COMMENT: Final = re.compile(r"/\*.*?\*/|(?<![:\w\"'])//[^\n]*", re.DOTALL)
_UNITS_S: Final = {"": 1.0, "s": 1.0, "sec": 1.0, "ms": 0.001, "min": 60.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class SupervisorFile:
    """``path`` as it is shown. ``programs``: the first is what it starts, without links; empty: it is not known."""

    path: str
    text: str
    is_pm2: bool
    programs: tuple[str, ...] = ()


def assess_supervisors(files: Sequence[SupervisorFile], *, prefix: str, drain_s: float) -> list[Finding]:
    """``prefix``: this environment (`sys.prefix`), without links."""
    if not files:
        sentence = "no ecosystem.config.js here, and no systemd unit for this folder: nothing starts the bot again"
        return [unknown("supervisor", sentence, "docs/pm2.md has both.")]
    found = []
    for file in files:
        faults = _pm2_faults(file, drain_s) if file.is_pm2 else _unit_faults(file, drain_s)
        faults += _interpreter_faults(file, prefix)
        name = safe(file.path)
        found += [fault("supervisor", f"{name}: {sentence}", mend) for sentence, mend in faults]
        if not file.is_pm2 and "WatchdogSec" not in _unit_options(file.text):
            found.append(unknown("supervisor", f"{name}: {_NO_WATCHDOG}", "WatchdogSec=60"))
        elif not faults:
            found.append(ok("supervisor", f"{name} suits a bot"))
    return found


_NO_WATCHDOG: Final = "it starts no bot again that is blocked (WatchdogSec is not set)"
_SHORT_WATCHDOG_S: Final = 15.0  # a busy machine, or one bad command, may block a bot for some seconds


def _pm2_faults(file: SupervisorFile, drain_s: float) -> list[tuple[str, str]]:
    text = _COMMENT.sub("", file.text)
    faults = []
    delay_ms = _number(text, "restart_delay")
    if delay_ms > _LONG_DELAY_S * 1000:
        faults.append((_LONG_DELAY.format(delay_ms / 1000), "restart_delay: 1_000"))
    elif not delay_ms:
        faults.append(("it has no pause between restarts, and gives up after 16 quick ones", "restart_delay: 1_000"))
    kill_ms = _number(text, "kill_timeout") or 1_600  # PM2's own default
    if kill_ms < drain_s * 1000:
        sentence = f"it kills the bot after {kill_ms / 1000:g} s, but running commands have {drain_s:g} s"
        faults.append((sentence, "kill_timeout: 240_000"))
    if not re.search(r"\btreekill\b[\"']?\s*:\s*false", text):
        faults.append(("it stops the embedded stores together with the bot", "treekill: false"))
    codes = re.search(r"\bstop_exit_codes\b[\"']?\s*:\s*\[([^\]]*)\]", text)
    if codes is None or "78" not in re.findall(r"\d+", codes[1]):
        faults.append(("it restarts the bot after errors that only a person can correct", _STOP_CODES_PM2))
    return faults


_LONG_DELAY_S: Final = 10.0
_LONG_DELAY: Final = "the bot is away for {:g} s after a crash, and botctl itself waits where logins are short"
_STOP_CODES_PM2: Final = "stop_exit_codes: [2, 3, 4, 5, 6, 78]"


def _number(text: str, option: str) -> float:
    match = re.search(rf"\b{option}\b[\"']?\s*:\s*([\d_]+)", text)
    return float(match[1].replace("_", "")) if match else 0.0


def _unit_faults(file: SupervisorFile, drain_s: float) -> list[tuple[str, str]]:
    options = _unit_options(file.text)
    faults = []
    delay_s = _seconds(options.get("RestartSec", "100ms"))
    if options.get("Restart", "no") not in ("no", "on-success") and delay_s > _LONG_DELAY_S:
        faults.append((_LONG_DELAY.format(delay_s), "RestartSec=1"))
    if _seconds(options.get("TimeoutStopSec", "90")) < drain_s:
        faults.append(
            (f"it kills the bot before its {drain_s:g} s for running commands are over", "TimeoutStopSec=240")
        )
    if options.get("KillMode", "control-group") not in ("mixed", "process"):
        faults.append(("it stops the embedded stores together with the bot", "KillMode=mixed"))
    if 0 < (watchdog_s := _seconds(options.get("WatchdogSec", "0"))) < _SHORT_WATCHDOG_S:
        faults.append((f"it kills the bot when its event loop is {watchdog_s:g} s late", "WatchdogSec=60"))
    if "78" not in options.get("RestartPreventExitStatus", "").split():
        mend = "RestartPreventExitStatus=2 3 4 5 6 78"
        faults.append(("it restarts the bot after errors that only a person can correct", mend))
    return faults


def _unit_options(text: str) -> dict[str, str]:
    """The options of all sections. The last one of a name counts."""
    lines = (line.strip() for line in text.replace("\\\n", " ").splitlines())
    pairs = (line.partition("=") for line in lines if line and line[0] not in "#;[")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _seconds(text: str) -> float:
    """``1min 30s`` of systemd.time(7); infinity if it is that, or not understood."""
    parts = re.findall(r"([\d.]+)\s*([a-z]*)", text)
    if not parts or any(unit not in _UNITS_S for _, unit in parts):
        return float("inf")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def _interpreter_faults(file: SupervisorFile, prefix: str) -> list[tuple[str, str]]:
    if not file.programs or PurePath(used := file.programs[0]).is_relative_to(prefix):
        return []
    mend = "Install the bot's requirements there, or name the interpreter of this environment"
    mend += " (BOTCTL_PYTHON)." if file.is_pm2 else " in ExecStart."
    return [(f"it starts {safe(used)}, but this botctl is in {safe(prefix)}", mend)]


def started_program(unit: str) -> str | None:
    """The program that the systemd unit with the text ``unit`` starts; None if it is not an absolute path."""
    try:
        words = shlex.split(_unit_options(unit).get("ExecStart", ""))
    except ValueError:
        return None
    program = words[0].lstrip("@-:+!") if words else ""
    return program if program.startswith("/") else None


def belongs_to(unit: str, root: str) -> bool:
    """Whether the systemd unit with the text ``unit`` is for the project in ``root``."""
    options = _unit_options(unit)
    runs_botctl = "botctl" in options.get("ExecStart", "")
    folder = options.get("WorkingDirectory", "").lstrip("-").rstrip("/")
    return runs_botctl and (folder == root.rstrip("/") or f"{root.rstrip('/')}/" in f"{options.get('ExecStart', '')} ")

"""What `botctl health` says when nothing runs: how the last run ended decides whether another start helps."""

from __future__ import annotations

from pathlib import Path

import pytest

from botctl.cli.health.check import hint_for_absent
from botctl.core.errors import ExitCode
from botctl.logins.history import StartHistory
from tests.support.clock import ManualClock

START = "Start it, or name the project with --project."


def ended(folder: Path, clock: ManualClock, *roles: str, code: ExitCode | None, reason: str = "") -> None:
    history = StartHistory(folder, roles, clock)
    history.begin()
    clock.advance(1)
    if code is not None:
        history.end(code, reason)


def test_without_any_run_it_is_to_be_started(tmp_path: Path) -> None:
    assert hint_for_absent(tmp_path) == hint_for_absent(tmp_path / "nowhere") == START


@pytest.mark.parametrize(
    ("code", "reason", "ends"),
    [
        (
            ExitCode.CONFIG,
            "Discord refuses the token.",
            "token. Correct that first, or the next start may end in the same way.",
        ),
        (ExitCode.FAILED, "the service bot failed", f"the service bot failed. {START}"),
        (ExitCode.TERMINATED, "", f"with exit code 143 at 2026-01-01 00:00:01 UTC. {START}"),
        (None, "", f"it ended without a word: killed, out of memory, or os._exit. {START}"),
    ],
)
def test_end_of_the_last_run_is_named(tmp_path: Path, code: ExitCode | None, reason: str, ends: str) -> None:
    ended(tmp_path, ManualClock(), "bot", code=code, reason=reason)
    assert hint_for_absent(tmp_path).endswith(ends)


def test_newest_of_all_roles_counts_and_a_damaged_file_does_not(tmp_path: Path) -> None:
    clock = ManualClock()
    ended(tmp_path, clock, "web", code=ExitCode.FAILED, reason="port taken")
    ended(tmp_path, clock, "bot", code=ExitCode.CONFIG, reason="no token")
    (tmp_path / "starts-jobs.json").write_text('[{"at_s": 1')
    assert "78" in hint_for_absent(tmp_path)
    assert "no token" in hint_for_absent(tmp_path)

"""A skip must stand in tests/skips.toml; any other one fails the run, so that no test falls silent unnoticed."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ALLOWED = frozenset(tomllib.loads((Path(__file__).parent.parent / "skips.toml").read_text(encoding="utf-8")))


def is_allowed(reason: str) -> bool:
    """Whether ``reason``, as pytest reports it, begins with a listed name."""
    return reason.removeprefix("Skipped: ").partition(":")[0].strip() in ALLOWED


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Turn an unlisted skip into a failure where it is reported (in the controller, under xdist)."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not is_allowed(reason):
            _unlisted.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run that skipped what the list does not name."""
    if _unlisted:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which skips are not in the list."""
    for line in _unlisted:
        terminalreporter.write_line(f"SKIPPED WITHOUT LEAVE (tests/skips.toml): {line}", red=True)


_unlisted: list[str] = []

"""Fails the run if a test is skipped for a reason that is not in tests/skips.toml."""

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
    """Record unlisted skips (with xdist: in the controller)."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not is_allowed(reason):
            _unlisted.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if there were unlisted skips."""
    if _unlisted:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the unlisted skips."""
    for line in _unlisted:
        terminalreporter.write_line(f"SKIPPED, BUT NOT LISTED IN tests/skips.toml: {line}", red=True)


_unlisted: list[str] = []

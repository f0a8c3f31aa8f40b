"""What `botctl run` prints while services start and change."""

from __future__ import annotations

import io

from rich.console import Console

from botctl.cli.run.view import Progress
from botctl.core.contracts.events import ServiceChanged


def test_line_of_a_service_shows_the_first_line_of_its_error() -> None:
    """The whole error is printed at the end, in lines."""
    console = Console(file=io.StringIO(), width=160)
    detail = "2 faults in the commands folder:\n  commands/a.py:1: one\n  commands/b.py:1: two"
    Progress(console, ["bot"]).update(ServiceChanged(service="bot", old="starting", new="failed", detail=detail))
    assert console.file.getvalue() == "  ✗ bot           2 faults in the commands folder:\n"

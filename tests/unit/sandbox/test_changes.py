"""What people and owners do by the control port."""

from __future__ import annotations

import re
from pathlib import Path

from botctl.sandbox.changes import CHANGES

PAGE = Path(__file__).parents[3] / "docs/sandbox.md"


def test_the_page_names_every_change() -> None:
    table = PAGE.read_text().partition("| Change |")[2].partition("\n\n")[0]
    named = {word for line in table.splitlines()[2:] for word in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert named == set(CHANGES)

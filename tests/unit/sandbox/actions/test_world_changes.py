"""Changes of the world through the control API."""

from __future__ import annotations

import re

from botctl.sandbox.actions.world_changes import CHANGES
from tests.support import ROOT

PAGE = ROOT / "docs/sandbox.md"


def test_docs_name_every_world_change() -> None:
    table = PAGE.read_text().partition("| Change |")[2].partition("\n\n")[0]
    named = {word for line in table.splitlines()[2:] for word in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert named == set(CHANGES)

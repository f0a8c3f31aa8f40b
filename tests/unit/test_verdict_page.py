"""docs/monitor.md has a row for every incident of the sandbox, and each row is held by a test that exists."""

from __future__ import annotations

import re

from botctl.core.contracts.health import Health
from botctl.sandbox.incidents import register_all
from botctl.sandbox.incidents.catalogue import INCIDENTS
from tests.support import ROOT
from tests.support.page_tests import named_tests, without_test

TABLE = (ROOT / "docs" / "monitor.md").read_text(encoding="utf-8").split("## Every failure\n")[1].split("\n## ")[0]
ROWS = [row.split(" | ") for row in re.findall(r"^\| (.+) \|$", TABLE, re.MULTILINE)[1:]]


def test_every_incident_has_a_row() -> None:
    assert register_all.connections  # its import fills the catalogue
    assert len(INCIDENTS) > 15
    assert not [name for name in INCIDENTS if f"`{name}`" not in TABLE]


def test_every_row_names_a_verdict_or_none() -> None:
    verdicts = {f"`{verdict}`" for verdict in Health}
    assert len(ROWS) > 20
    assert not [row for row in ROWS if not (row[1].startswith("none") or any(word in row[1] for word in verdicts))]


def test_every_verdict_has_a_row() -> None:
    assert not [verdict for verdict in Health if f"`{verdict}`" not in TABLE and verdict is not Health.HEALTHY]


def test_every_row_is_held_by_a_test_that_exists() -> None:
    assert named_tests(TABLE)
    assert without_test(TABLE) == []
    assert not [row for row in ROWS if not (row[3] == "the same" or named_tests(row[3]))]

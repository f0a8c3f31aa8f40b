"""The picture of the rooms is that of the imports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import ROOT
from tools.import_map import PAGE, page, reduced


def test_picture_is_current() -> None:
    """If not: python tools/import_map.py"""
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text


def test_redundant_arrows_are_omitted() -> None:
    assert reduced({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}


@pytest.mark.parametrize("guide", [PAGE, ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_every_file_that_a_guide_names_exists(guide: Path) -> None:
    """A walk leads nowhere when its files have moved."""
    named = re.findall(r"`((?:\w+/)+\w+\.py)`", guide.read_text(encoding="utf-8"))
    assert len(named) > 5
    homes = (ROOT, ROOT / "botctl", ROOT / "botctl" / "sandbox")
    assert [name for name in named if not any((home / name).exists() for home in homes)] == []
